"""Likes and reposts, and that their counts are exact."""

import asyncio
from typing import Any

import httpx
import pytest

from service_kit.problems import ServiceUnavailable
from support.responses import problem
from support.tweet_app import post


async def counts(client: httpx.AsyncClient, tweet: dict[str, Any]) -> dict[str, int]:
    read: dict[str, int] = (await client.get(f"/v1/tweets/{tweet['id']}")).json()["counts"]
    return read


async def test_like_counts_once_however_often(make_client: Any) -> None:
    ada, bob = make_client(), make_client()
    tweet = await post(ada)
    for _ in range(3):
        answer = await bob.put(f"/v1/tweets/{tweet['id']}/like")
        assert (answer.status_code, answer.json()["counts"]["likes"]) == (200, 1)
    await ada.put(f"/v1/tweets/{tweet['id']}/like")
    assert await counts(ada, tweet) == {"likes": 2, "reposts": 0, "replies": 0}
    for _ in range(3):
        assert (await bob.delete(f"/v1/tweets/{tweet['id']}/like")).status_code == 204
    assert await counts(ada, tweet) == {"likes": 1, "reposts": 0, "replies": 0}


async def test_thousand_parallel_likes_and_unlikes_end_at_the_exact_number(make_client: Any) -> None:
    tweet = await post(make_client())
    path = f"/v1/tweets/{tweet['id']}/like"
    people = [make_client(arrived=False) for _ in range(100)]
    fickle = people[:60]
    answers = await asyncio.gather(
        *(person.put(path) for person in people for _ in range(4)),
        *(person.delete(path) for person in fickle for _ in range(5)),
        *(person.put(path) for person in fickle for _ in range(5)),
    )
    assert len(answers) == 1000
    assert {answer.status_code for answer in answers} == {200, 204}
    # The last request of each user decides, in any order of the others.
    await asyncio.gather(*(person.delete(path) for person in fickle))
    assert (await counts(people[0], tweet))["likes"] == 40
    likes = await people[0].get(f"/v1/tweets/{tweet['id']}/likes", params={"limit": 100})
    assert len(likes.json()["items"]) == 40


async def test_count_is_exact_after_a_crash_between_the_writes(app: Any, make_client: Any, monkeypatch: Any) -> None:
    ada, bob = make_client(), make_client()
    tweet = await post(ada)
    reactions = app.state.services.reactions

    async def crash(*_: object) -> None:
        raise ServiceUnavailable("killed between the like and its count")

    with monkeypatch.context() as patched:
        patched.setattr(reactions._tweets, "count", crash)
        assert (await bob.put(f"/v1/tweets/{tweet['id']}/like")).status_code == 503
    assert await counts(ada, tweet) == {"likes": 0, "reposts": 0, "replies": 0}
    assert (await ada.get(f"/v1/tweets/{tweet['id']}/likes")).json()["items"] == []
    assert (await bob.put(f"/v1/tweets/{tweet['id']}/like")).json()["counts"]["likes"] == 1


async def test_repost_is_a_tweet_of_its_own_and_there_is_one(make_client: Any) -> None:
    ada, bob = make_client(), make_client()
    tweet = await post(ada)
    first, second = [await bob.put(f"/v1/tweets/{tweet['id']}/repost") for _ in range(2)]
    assert first.status_code == 200
    assert first.json()["repost_of"] == tweet["id"]
    assert first.json()["author"]["username"] == bob.username
    assert first.json()["id"] == second.json()["id"]
    assert (await counts(ada, tweet))["reposts"] == 1
    # A repost or like of a repost concerns the reposted tweet.
    carol = make_client()
    again = await carol.put(f"/v1/tweets/{first.json()['id']}/repost")
    assert again.json()["repost_of"] == tweet["id"]
    await carol.put(f"/v1/tweets/{first.json()['id']}/like")
    assert await counts(ada, tweet) == {"likes": 1, "reposts": 2, "replies": 0}
    who = (await ada.get(f"/v1/tweets/{tweet['id']}/reposts")).json()["items"]
    assert [person["username"] for person in who] == [carol.username, bob.username]
    assert (await bob.delete(f"/v1/tweets/{tweet['id']}/repost")).status_code == 204
    assert (await counts(ada, tweet))["reposts"] == 1


async def test_repost_taken_back_as_the_tweet_it_is_is_counted_too(make_client: Any) -> None:
    ada, bob = make_client(), make_client()
    tweet = await post(ada)
    repost = (await bob.put(f"/v1/tweets/{tweet['id']}/repost")).json()
    edit = await bob.patch(f"/v1/tweets/{repost['id']}", json={"text": "x"}, headers={"If-Match": "*"})
    assert problem(edit) == (403, "not-the-author")
    assert (await bob.delete(f"/v1/tweets/{repost['id']}")).status_code == 204
    assert (await counts(ada, tweet))["reposts"] == 0


async def test_deleted_tweet_takes_likes_and_reposts_with_it(make_client: Any, documents: Any) -> None:
    ada, bob = make_client(), make_client()
    tweet = await post(ada)
    await bob.put(f"/v1/tweets/{tweet['id']}/like")
    repost = (await bob.put(f"/v1/tweets/{tweet['id']}/repost")).json()
    assert (await ada.delete(f"/v1/tweets/{tweet['id']}")).status_code == 204
    assert problem(await bob.get(f"/v1/tweets/{repost['id']}")) == (404, "tweet-not-found")
    assert documents["likes"].count_documents({"_id.user_id": bob.user_id}) == 0
    for method, what in (("PUT", "like"), ("DELETE", "like"), ("PUT", "repost"), ("GET", "likes"), ("GET", "thread")):
        answer = await bob.request(method, f"/v1/tweets/{tweet['id']}/{what}")
        assert problem(answer) == (404, "tweet-not-found"), what


async def test_replies_are_counted_and_discounted(make_client: Any) -> None:
    ada, bob = make_client(), make_client()
    tweet = await post(ada)
    replies = await asyncio.gather(*(post(bob, f"reply {number}", reply_to=tweet["id"]) for number in range(20)))
    assert (await counts(ada, tweet))["replies"] == 20
    await asyncio.gather(*(bob.delete(f"/v1/tweets/{reply['id']}") for reply in replies[:5]))
    assert (await counts(ada, tweet))["replies"] == 15


async def test_likes_are_listed_page_by_page(make_client: Any, leave_tombstone: Any) -> None:
    ada = make_client()
    tweet = await post(ada)
    people = [make_client() for _ in range(5)]
    for person in people:
        await person.put(f"/v1/tweets/{tweet['id']}/like")
    leave_tombstone(people[2].user_id)
    seen, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await ada.get(f"/v1/tweets/{tweet['id']}/likes", params=params)
        seen += [person["username"] for person in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
        assert 'rel="next"' in page.headers["link"]
    assert seen == [person.username for person in reversed(people) if person is not people[2]]


@pytest.mark.parametrize("what", ["like", "repost"])
async def test_reactions_need_a_token(anonymous: httpx.AsyncClient, make_client: Any, what: str) -> None:
    tweet = await post(make_client())
    assert problem(await anonymous.put(f"/v1/tweets/{tweet['id']}/{what}")) == (401, "not-authenticated")


async def test_own_reactions_of_the_requested_tweets_are_returned(make_client: Any) -> None:
    ada, bob = make_client(), make_client()
    liked, reposted, left = [await post(ada) for _ in range(3)]
    await bob.put(f"/v1/tweets/{liked['id']}/like")
    await bob.put(f"/v1/tweets/{reposted['id']}/repost")
    await ada.put(f"/v1/tweets/{left['id']}/like")
    asked = {"tweet": [left["id"], reposted["id"], liked["id"], "f" * 24]}
    answer = await bob.get("/v1/reactions", params=asked)
    assert (answer.status_code, answer.json()) == (200, {"likes": [liked["id"]], "reposts": [reposted["id"]]})
    await bob.delete(f"/v1/tweets/{liked['id']}/like")
    await bob.delete(f"/v1/tweets/{reposted['id']}/repost")
    assert (await bob.get("/v1/reactions", params=asked)).json() == {"likes": [], "reposts": []}


@pytest.mark.parametrize("asked", [{}, {"tweet": ["x"]}, {"tweet": ["f" * 24] * 101}])
async def test_own_reactions_are_asked_with_ids_up_to_a_page(make_client: Any, asked: dict[str, list[str]]) -> None:
    assert problem(await make_client().get("/v1/reactions", params=asked)) == (422, "validation-failed")
