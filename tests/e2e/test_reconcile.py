"""The copies that Debezium, Kafka and the sync have made are what their sources are, by the sync's own accounts."""

import json
from typing import Any

from e2e.copies import Copies
from e2e.users import User
from embedded_stack import Stack
from support.commands import run_command
from support.polling import eventually


async def reconcile(stack: Stack, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the report of each route."""
    addresses = stack.addresses
    code, output, errors = await run_command(
        *("sync-service", "reconcile", "--json", *arguments),
        MYSQL_URL=addresses["SYNC_MYSQL_URL"],
        MONGODB_URL=addresses["MONGODB_URL"],
        KAFKA_BOOTSTRAP_SERVERS=addresses["KAFKA_BOOTSTRAP_SERVERS"],
    )
    assert output, errors
    return code, {route["route"]: route for route in json.loads(output)["routes"]}


async def test_reconcile_finds_and_repairs_differences(running_stack: Stack, user: User, copies: Copies) -> None:
    tweets = [await user.tweet(f"🎉 “quoted” \\ #tag{number} @{user.username}") for number in range(20)]
    await user.client.patch("/api/auth/v1/users/me", json={"name": "Ada Lovelace"})
    for tweet in tweets:
        await eventually(lambda wanted=tweet: copies.tweet(wanted["id"]))
    await eventually(lambda: copies.user(user.id), lambda user: user is not None and user["name"] == "Ada Lovelace")
    code, reports = await reconcile(running_stack)
    assert (code, {name: report["is_in_agreement"] for name, report in reports.items()}) == (
        0,
        dict.fromkeys(reports, True),
    )
    assert reports["users"]["rows"] >= 1
    assert reports["tweets"]["rows"] >= len(tweets)

    # Changes that no event reports, one of each kind.
    ids = [tweet["id"] for tweet in tweets]
    await copies.execute("DELETE FROM tweets.tweets_copy WHERE id = :id", id=ids[0])
    await copies.execute("UPDATE tweets.tweets_copy SET text = 'tampered with' WHERE id = :id", id=ids[1])
    users = copies.mongo.get_database("auth").get_collection("users_copy")
    users.insert_one({"_id": "nobody", "username": "nobody"})
    code, reports = await reconcile(running_stack)
    assert (code, reports["tweets"]["missing"], reports["tweets"]["different"]) == (1, 1, 1)
    assert reports["users"]["extra"] == 1
    code, reports = await reconcile(running_stack, "--repair")
    assert (code, reports["tweets"]["mended"], reports["users"]["mended"]) == (0, 2, 1)
    row = await copies.tweet(ids[1])
    assert row is not None
    assert row["text"] == tweets[1]["text"]
    assert await copies.user("nobody") is None

    # What has been mended follows its source like any other row.
    answer = await user.client.delete(f"/api/tweets/v1/tweets/{ids[0]}")
    assert answer.status_code == 204
    await eventually(lambda: copies.tweet(ids[0]), lambda row: row is None)
    code, _ = await reconcile(running_stack)
    assert code == 0
