"""Register, log in, tweet, and see both databases agree."""

import httpx

from e2e.copies import Copies
from e2e.users import User
from embedded_stack import Stack
from support.polling import eventually


async def test_account_and_tweet_arrive_in_the_opposite_stores(user: User, copies: Copies) -> None:
    login = await user.client.post(
        "/api/auth/v1/login", json={"login": user.username, "password": user.password, "remember_me": False}
    )
    assert login.status_code == 200, login.text
    user.client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
    me = (await user.client.get("/api/auth/v1/users/me")).json()

    tweet = await user.tweet("hello from #tandem, @" + user.username)

    copied = await eventually(lambda: copies.user(user.id))
    assert copied is not None
    assert (copied["username"], copied["name"]) == (me["username"], me["name"])
    # The address stays in MySQL.
    assert "email" not in copied
    assert copied["is_active"] is True
    assert "_sync" not in copied
    row = await eventually(lambda: copies.tweet(tweet["id"]))
    assert row is not None
    assert (row["text"], row["author_id"], row["version"]) == (tweet["text"], user.id, 1)
    assert f"{row['created_at'].isoformat(timespec='microseconds')}Z" == tweet["created_at"]
    seen = (await user.client.get(f"/api/tweets/v1/tweets/{tweet['id']}")).json()
    assert seen["author"] == {"id": user.id, "username": user.username, "name": "Ada"}


async def test_edits_follow(user: User, copies: Copies) -> None:
    tweet = await user.tweet("frist")
    edited = await user.client.patch(
        f"/api/tweets/v1/tweets/{tweet['id']}", json={"text": "first"}, headers={"If-Match": '"1"'}
    )
    assert edited.status_code == 200, edited.text
    renamed = await user.client.patch("/api/auth/v1/users/me", json={"name": "Ada Lovelace"})
    assert renamed.status_code == 200, renamed.text

    row = await eventually(lambda: copies.tweet(tweet["id"]), lambda row: row is not None and row["version"] == 2)
    assert row is not None
    assert row["text"] == "first"
    await eventually(lambda: copies.user(user.id), lambda user: user is not None and user["name"] == "Ada Lovelace")


async def test_deletes_follow(user: User, copies: Copies) -> None:
    tweet = await user.tweet("regrettable")
    await eventually(lambda: copies.tweet(tweet["id"]))
    await eventually(lambda: copies.user(user.id))

    assert (await user.client.delete(f"/api/tweets/v1/tweets/{tweet['id']}")).status_code == 204
    await copies.execute("DELETE FROM auth.users WHERE id = :id", id=user.id)

    await eventually(lambda: copies.tweet(tweet["id"]), lambda row: row is None)
    await eventually(lambda: copies.user(user.id), lambda user: user is None)


async def test_tweets_of_every_kind_of_character_arrive_unchanged(user: User, copies: Copies) -> None:
    wanted = "naïve 日本語 \N{FAMILY} 👩‍👩‍👧‍👦 𐍈 'quoted' \"double\" \\back\\ %s {} \u202eright"
    tweet = await user.tweet(wanted)
    row = await eventually(lambda: copies.tweet(tweet["id"]))
    assert row is not None
    assert row["text"] == wanted


async def test_services_answer_through_the_gateway(running_stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=running_stack.addresses["GATEWAY_URL"], timeout=20) as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert "content-security-policy" in page.headers
        jwks = await client.get("/api/auth/.well-known/jwks.json")
        assert jwks.json()["keys"][0]["alg"] == "ES256"
        assert "d" not in jwks.json()["keys"][0]
        for service in ("auth", "tweets", "sync"):
            description = (await client.get(f"/api/{service}/openapi.json")).json()
            assert description["servers"] == [{"url": f"/api/{service}"}]
        chosen = await client.get("/api/tweets/v1/tweets", headers={"X-Request-ID": "my-own-1"})
        assert chosen.headers.get_list("x-request-id") == ["my-own-1"]
        too_large = await client.post("/api/auth/v1/login", content=b"x" * (1024 * 1024 + 1))
        assert too_large.status_code == 413
        assert too_large.headers["content-type"] == "application/problem+json"
        assert (await client.get("/api/auth/metrics")).status_code == 404
