"""`sync-service routes resnapshot` restores rows of a copy that no event restores, by the sync's own accounts."""

import json

import pytest

from e2e.copies import Copies
from e2e.users import User
from embedded_stack import Stack
from support.commands import run_command
from support.polling import eventually


@pytest.fixture
def variables(running_stack: Stack) -> dict[str, str]:
    addresses = running_stack.addresses
    same = ("MONGODB_URL", "KAFKA_BOOTSTRAP_SERVERS", "REGISTRAR_URL")
    return {"MYSQL_URL": addresses["SYNC_MYSQL_URL"], **{name: addresses[name] for name in same}}


async def test_lost_rows_are_in_the_copy_again(variables: dict[str, str], user: User, copies: Copies) -> None:
    tweet = await user.tweet("🎉 lost and found")
    await eventually(lambda: copies.tweet(tweet["id"]))
    await eventually(lambda: copies.user(user.id))
    await copies.execute("DELETE FROM tweets.tweets_copy WHERE id = :id", id=tweet["id"])
    copies.mongo.get_database("auth").get_collection("users_copy").delete_one({"_id": user.id})
    for route, source in (("tweets", "tweets.tweets"), ("users", "auth.users")):
        code, output, errors = await run_command("sync-service", "routes", "resnapshot", route, "--json", **variables)
        assert code == 0, errors
        result = json.loads(output)
        assert (result["source"], result["state"], result["is_applied"]) == (source, "copied", True)
        assert result["left_out"] is None
    row = await eventually(lambda: copies.tweet(tweet["id"]))
    assert row["text"] == tweet["text"]
    await eventually(lambda: copies.user(user.id))


async def test_resnapshot_without_a_registrar_names_the_remedy(variables: dict[str, str]) -> None:
    command = ("sync-service", "routes", "resnapshot", "tweets")
    code, output, errors = await run_command(*command, **{**variables, "REGISTRAR_URL": "http://127.0.0.1:1"})
    assert (code, output) == (2, "")
    assert errors.startswith("error: the registrar at http://127.0.0.1:1 does not answer: ")
    assert errors.endswith("; is it running?\n")
    del variables["REGISTRAR_URL"]
    code, _, errors = await run_command(*command, **variables)
    assert (code, errors.startswith("error: REGISTRAR_URL ")) == (2, True)
