"""Likes and follows in MySQL, and the views that name users."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from e2e.copies import Copies, Document
from e2e.users import Register, User, found_by_others
from embedded_stack import Stack
from service_kit.mysql import create_engine
from support.polling import eventually


@pytest.fixture
async def fan(register: Register) -> User:
    return await register()


async def test_likes_and_follows_are_copied_and_deleted(
    running_stack: Stack, user: User, fan: User, copies: Copies
) -> None:
    tweet = await user.tweet("like me")
    like, follow = f"/api/tweets/v1/tweets/{tweet['id']}/like", f"/api/tweets/v1/users/{user.username}/follow"

    async def liked() -> Document | None:
        return await copies.row("SELECT user_id FROM tweets.likes WHERE tweet_id = :id", id=tweet["id"])

    async def followed() -> Document | None:
        return await copies.row("SELECT follower_id FROM tweets.follows WHERE followee_id = :id", id=user.id)

    await found_by_others(running_stack.addresses["GATEWAY_URL"], user.username)
    assert (await fan.client.put(like)).is_success
    assert (await fan.client.put(follow)).is_success
    await eventually(liked, lambda row: row == {"user_id": fan.id})
    await eventually(followed, lambda row: row == {"follower_id": fan.id})
    assert (await fan.client.delete(like)).is_success
    assert (await fan.client.delete(follow)).is_success
    await eventually(liked, lambda row: row is None)
    await eventually(followed, lambda row: row is None)


async def test_views_count_reactions_and_name_authors(user: User, fan: User, copies: Copies) -> None:
    tag = f"views{user.username.removeprefix('ada_')}"
    tweet = await user.tweet(f"about #{tag} and #{tag.upper()}")
    await user.tweet(f"more about #{tag}")
    answer = await fan.tweet("indeed", reply_to=tweet["id"])
    assert (await fan.client.put(f"/api/tweets/v1/tweets/{tweet['id']}/like")).is_success

    async def activity() -> Document | None:
        return await copies.row("SELECT * FROM tweets.author_activity WHERE author_id = :id", id=user.id)

    counts = {"tweets": 2, "likes_received": 1, "replies_received": 1, "replies_written": 0}
    row = await eventually(activity, lambda row: row is not None and counts.items() <= row.items())
    assert row is not None
    assert (row["username"], row["name"]) == (user.username, "Ada")
    hashtag = await copies.row("SELECT * FROM tweets.hashtag_counts WHERE hashtag = :tag", tag=tag)
    assert hashtag is not None
    assert (hashtag["tweets"], hashtag["authors"]) == (2, 1)
    reply = await copies.row("SELECT * FROM tweets.replies WHERE id = :id", id=answer["id"])
    assert reply is not None
    assert (reply["author"], reply["parent_author"], reply["parent_text"]) == (
        fan.username,
        user.username,
        tweet["text"],
    )


async def test_sync_account_reads_only_the_public_table_of_users(running_stack: Stack) -> None:
    engine: AsyncEngine = create_engine(running_stack.addresses["SYNC_MYSQL_URL"])
    async with engine.connect() as connection:
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'auth'"
        assert set((await connection.execute(text(tables))).scalars()) == {"users"}
        with pytest.raises(DBAPIError, match="denied"):
            await connection.execute(text("UPDATE auth.users SET name = 'x'"))
    await engine.dispose()
