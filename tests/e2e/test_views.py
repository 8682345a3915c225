"""Likes and follows in MySQL, and the views that name the people of both stores."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from e2e.copies import Copies, Document
from e2e.people import Person, found_by_others, register
from embedded_stack import Stack
from service_kit.mysql import create_engine
from support.polling import eventually


@pytest.fixture
async def fan(running_stack: Stack) -> AsyncIterator[Person]:
    someone = await register(running_stack.addresses["GATEWAY_URL"])
    yield someone
    await someone.client.aclose()


async def test_likes_and_follows_reach_mysql_and_leave_it(
    running_stack: Stack, person: Person, fan: Person, copies: Copies
) -> None:
    tweet = await person.tweet("like me")
    like, follow = f"/api/tweets/v1/tweets/{tweet['id']}/like", f"/api/tweets/v1/users/{person.username}/follow"

    async def liked() -> Document | None:
        return await copies.row("SELECT user_id FROM tweets.likes WHERE tweet_id = :id", id=tweet["id"])

    async def followed() -> Document | None:
        return await copies.row("SELECT follower_id FROM tweets.follows WHERE followee_id = :id", id=person.id)

    await found_by_others(running_stack.addresses["GATEWAY_URL"], person.username)
    assert (await fan.client.put(like)).is_success
    assert (await fan.client.put(follow)).is_success
    await eventually(liked, lambda row: row == {"user_id": fan.id})
    await eventually(followed, lambda row: row == {"follower_id": fan.id})
    assert (await fan.client.delete(like)).is_success
    assert (await fan.client.delete(follow)).is_success
    await eventually(liked, lambda row: row is None)
    await eventually(followed, lambda row: row is None)


async def test_views_count_what_an_author_got_and_name_who_answers_whom(
    person: Person, fan: Person, copies: Copies
) -> None:
    tag = f"views{person.username.removeprefix('ada_')}"
    tweet = await person.tweet(f"about #{tag} and #{tag.upper()}")
    await person.tweet(f"more about #{tag}")
    answer = await fan.tweet("indeed", reply_to=tweet["id"])
    assert (await fan.client.put(f"/api/tweets/v1/tweets/{tweet['id']}/like")).is_success

    async def activity() -> Document | None:
        return await copies.row("SELECT * FROM tweets.author_activity WHERE author_id = :id", id=person.id)

    counts = {"tweets": 2, "likes_received": 1, "replies_received": 1, "replies_written": 0}
    row = await eventually(activity, lambda row: row is not None and counts.items() <= row.items())
    assert row is not None
    assert (row["username"], row["name"]) == (person.username, "Ada")
    hashtag = await copies.row("SELECT * FROM tweets.hashtag_counts WHERE hashtag = :tag", tag=tag)
    assert hashtag is not None
    assert (hashtag["tweets"], hashtag["authors"]) == (2, 1)
    reply = await copies.row("SELECT * FROM tweets.replies WHERE id = :id", id=answer["id"])
    assert reply is not None
    assert (reply["author"], reply["parent_author"], reply["parent_text"]) == (
        fan.username,
        person.username,
        tweet["text"],
    )


async def test_sync_sees_of_the_accounts_the_public_table_and_no_other(running_stack: Stack) -> None:
    engine: AsyncEngine = create_engine(running_stack.addresses["SYNC_MYSQL_URL"])
    async with engine.connect() as connection:
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'auth'"
        assert set((await connection.execute(text(tables))).scalars()) == {"users"}
        with pytest.raises(DBAPIError, match="denied"):
            await connection.execute(text("UPDATE auth.users SET name = 'x'"))
    await engine.dispose()
