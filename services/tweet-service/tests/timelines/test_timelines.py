"""Home timeline, hashtags, threads, search, trends and follows."""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from support.responses import problem
from support.tweet_app import Documents, post, profiled
from tweet_service.pagination import Position
from tweet_service.profiles import service as profiles_module
from tweet_service.timelines.service import MAX_FOLLOWEES, MAX_GAPS, TRENDS_SECONDS
from tweet_service.times import now_in_milliseconds
from tweet_service.tweets.repository import reposts_of, tagged
from tweet_service.tweets.service import new_tweet
from tweet_service.tweets.upgrade import upgrade_tweets

ASIDE = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def pages(client: httpx.AsyncClient, path: str, limit: int = 2, **params: Any) -> list[dict[str, Any]]:
    """Everything a list has, page by page."""
    items: list[dict[str, Any]] = []
    cursor = params.pop("cursor", None)
    while True:
        whole = {**params, "limit": limit, **({"cursor": cursor} if cursor else {})}
        answer = await client.get(path, params=whole)
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return items


async def test_home_timeline_is_of_the_people_one_follows_and_of_oneself(make_client: Any) -> None:
    ada, bob, carol = make_client(), make_client(), make_client()
    assert (await ada.put(f"/v1/users/{bob.username}/follow")).status_code == 204
    own, followed, other = await post(ada, "mine"), await post(bob, "of bob"), await post(carol, "of carol")
    repost = (await bob.put(f"/v1/tweets/{other['id']}/repost")).json()
    seen = [tweet["id"] for tweet in await pages(ada, "/v1/timeline")]
    assert seen == [repost["id"], followed["id"], own["id"]]
    await ada.delete(f"/v1/users/{bob.username}/follow")
    assert [tweet["id"] for tweet in await pages(ada, "/v1/timeline")] == [own["id"]]


def follow_many(documents: Documents, follower_id: str, followees: int) -> list[str]:
    """Follows of so many new users, whose ids it returns, the oldest follow first."""
    now, name = now_in_milliseconds(), secrets.token_hex(5)
    ids = [f"u-{name}-{number}" for number in range(followees)]
    documents["follows"].insert_many(
        {
            "_id": {"follower_id": follower_id, "followee_id": followee_id},
            "created_at": now + timedelta(milliseconds=number),
        }
        for number, followee_id in enumerate(ids)
    )
    return ids


@pytest.mark.parametrize("limit", [7, 100])
async def test_home_timeline_of_many_authors_reads_little_and_sorts_nothing(
    make_client: Any, documents: Documents, limit: int
) -> None:
    ada = make_client()
    oldest, *authors = follow_many(documents, ada.user_id, MAX_FOLLOWEES + 1)
    now = now_in_milliseconds()
    # Some are of the same millisecond. Those of one author are newer than all others.
    tweets = [
        new_tweet(author, "x") | {"created_at": now - timedelta(milliseconds=secrets.randbelow(500), minutes=minutes)}
        for author, minutes in [
            *((author, 1) for author in authors),
            *((authors[0], 0) for _ in range(120)),
            *((oldest, 0) for _ in range(3)),
            *((ada.user_id, 1) for _ in range(3)),
        ]
    ]
    documents["tweets"].insert_many(tweets)
    expected = [each for each in tweets if each["author_id"] != oldest]
    expected.sort(key=lambda tweet: (tweet["created_at"], tweet["_id"]), reverse=True)
    with profiled(documents) as operations:
        found = await pages(ada, "/v1/timeline", limit=limit)
    assert [tweet["id"] for tweet in found] == [str(tweet["_id"]) for tweet in expected]
    parts = [operation for operation in operations if "author_id" in str(operation["command"].get("filter"))]
    assert parts
    for operation in parts:
        assert "author_id" in operation["planSummary"]
        assert not operation.get("hasSortStage")
        # Keys of each author, and those of one page.
        assert operation["keysExamined"] <= 600 + 2 * limit
        assert operation["docsExamined"] <= 600 + limit


async def test_home_timeline_needs_a_token(anonymous: httpx.AsyncClient) -> None:
    assert problem(await anonymous.get("/v1/timeline")) == (401, "not-authenticated")


async def test_followers_and_following_are_listed_and_counted(make_client: Any, anonymous: httpx.AsyncClient) -> None:
    star, fans = make_client(), [make_client() for _ in range(5)]
    for fan in fans:
        for _ in range(2):
            await fan.put(f"/v1/users/{star.username}/follow")
    await post(star)
    followers = await pages(anonymous, f"/v1/users/{star.username}/followers")
    assert [person["username"] for person in followers] == [fan.username for fan in reversed(fans)]
    following = await pages(anonymous, f"/v1/users/{fans[0].username}/following")
    assert [person["username"] for person in following] == [star.username]
    profile = (await fans[0].get(f"/v1/users/{star.username}")).json()
    assert profile["counts"] == {"tweets": 1, "followers": 5, "following": 0}
    assert (profile["is_followed"], profile["is_imported"], profile["id"]) == (True, False, star.user_id)
    assert (await anonymous.get(f"/v1/users/{star.username}")).json()["is_followed"] is None


@pytest.mark.parametrize("listed", ["followers", "following", "likes", "reposts"])
async def test_page_of_users_is_full_although_some_were_deleted(
    make_client: Any, anonymous: httpx.AsyncClient, leave_tombstone: Callable[[str], None], listed: str
) -> None:
    star, fans = make_client(), [make_client() for _ in range(9)]
    tweet = await post(star)
    for fan in fans:
        if listed == "followers":
            await fan.put(f"/v1/users/{star.username}/follow")
        elif listed == "following":
            await star.put(f"/v1/users/{fan.username}/follow")
        else:
            await fan.put(f"/v1/tweets/{tweet['id']}/{listed.removesuffix('s')}")
    for number in (0, 4, 6, 7, 8):
        leave_tombstone(fans[number].user_id)
    path = f"/v1/tweets/{tweet['id']}" if listed in ("likes", "reposts") else f"/v1/users/{star.username}"
    first = (await anonymous.get(f"{path}/{listed}", params={"limit": 2})).json()
    assert [person["username"] for person in first["items"]] == [fans[5].username, fans[3].username]
    left = await pages(anonymous, f"{path}/{listed}", cursor=first["next_cursor"])
    assert [person["username"] for person in left] == [fans[2].username, fans[1].username]


async def test_page_of_users_reads_a_bounded_number_of_deleted_ones(
    make_client: Any,
    anonymous: httpx.AsyncClient,
    leave_tombstone: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profiles_module, "MAX_READS", 2)
    star, fans = make_client(), [make_client() for _ in range(6)]
    for fan in fans:
        await fan.put(f"/v1/users/{star.username}/follow")
        if fan is not fans[0]:
            leave_tombstone(fan.user_id)
    path = f"/v1/users/{star.username}/followers"
    first = (await anonymous.get(path, params={"limit": 1})).json()
    assert first["items"] == []
    left = await pages(anonymous, path, limit=1, cursor=first["next_cursor"])
    assert [person["username"] for person in left] == [fans[0].username]


async def test_following_oneself_or_an_unknown_user_is_refused(make_client: Any) -> None:
    ada = make_client()
    assert problem(await ada.put(f"/v1/users/{ada.username}/follow")) == (409, "own-follower")
    assert problem(await ada.put("/v1/users/nobody_at_all/follow")) == (404, "user-not-found")
    assert problem(await ada.get("/v1/users/nobody_at_all")) == (404, "user-not-found")
    assert problem(await ada.get("/v1/users/nobody_at_all/tweets")) == (404, "user-not-found")


async def test_hashtag_is_found_in_any_case_and_width(make_client: Any) -> None:
    ada, tag = make_client(), f"Tandem{secrets.token_hex(4)}"
    tweets = [await post(ada, f"one #{tag}"), await post(ada, f"two #{tag.upper()} #{tag}"), await post(ada, tag)]
    for spelled in (tag, f"#{tag.lower()}", tag.translate({ord("T"): "Ｔ"})):
        found = [tweet["id"] for tweet in await pages(ada, "/v1/tweets", hashtag=spelled, limit=1)]
        assert found == [tweets[1]["id"], tweets[0]["id"]]
    edited = await ada.patch(f"/v1/tweets/{tweets[0]['id']}", json={"text": "no tag"}, headers={"If-Match": "*"})
    assert edited.status_code == 200
    assert [tweet["id"] for tweet in await pages(ada, "/v1/tweets", hashtag=tag)] == [tweets[1]["id"]]


async def test_tweets_of_a_span_of_time(make_client: Any) -> None:
    ada = make_client()
    tweets = [await post(ada, f"number {number}") for number in range(4)]
    span = {"author": ada.username, "since": tweets[1]["created_at"], "until": tweets[3]["created_at"]}
    found = [tweet["id"] for tweet in await pages(ada, "/v1/tweets", limit=1, **span)]
    moments = {tweet["created_at"] for tweet in tweets}
    assert len(moments) < 4 or found == [tweets[2]["id"], tweets[1]["id"]]
    wrong = await ada.get("/v1/tweets", params={"since": "yesterday"})
    assert problem(wrong) == (422, "validation-failed")


async def test_search_finds_all_words_and_phrases(make_client: Any) -> None:
    ada, word = make_client(), f"w{secrets.token_hex(5)}"
    both = await post(ada, f"the quick {word} fox")
    await post(ada, f"only {word}")
    await post(ada, "the quick one")
    assert [tweet["id"] for tweet in await pages(ada, "/v1/search", q=f"{word} QUICK")] == [both["id"]]
    assert [tweet["id"] for tweet in await pages(ada, "/v1/search", q=f'"quick {word}"')] == [both["id"]]
    assert await pages(ada, "/v1/search", q=f'"{word} quick"') == []
    assert len(await pages(ada, "/v1/search", q=word, limit=1)) == 2
    for odd in ('"', "-" + word, "$where", "\\", "###"):
        assert (await ada.get("/v1/search", params={"q": odd})).status_code == 200


async def test_trends_count_tweets_of_the_window(make_client: Any, clock: Any) -> None:
    ada, tag = make_client(), f"trend{secrets.token_hex(4)}"
    for _ in range(7):
        await post(ada, f"again #{tag} and #{tag.upper()}")
    clock.forward(TRENDS_SECONDS + 1)
    trends = (await ada.get("/v1/trends", params={"window": "1h"})).json()
    assert trends["window_seconds"] == 3600
    assert {"hashtag": tag, "tweets": 7} in trends["items"]
    assert [item["tweets"] for item in trends["items"]] == sorted(
        (item["tweets"] for item in trends["items"]), reverse=True
    )
    assert problem(await ada.get("/v1/trends", params={"window": "2h"})) == (422, "validation-failed")


async def thread_of(client: httpx.AsyncClient, tweet: dict[str, Any], **params: Any) -> dict[str, Any]:
    answer = await client.get(f"/v1/tweets/{tweet['id']}/thread", params=params)
    assert answer.status_code == 200, answer.text
    thread: dict[str, Any] = answer.json()
    return thread


async def test_thread_shows_ancestors_and_replies(make_client: Any) -> None:
    ada = make_client()
    root = await post(ada, "root")
    middle = await post(ada, "middle", reply_to=root["id"])
    leaf = await post(ada, "leaf", reply_to=middle["id"])
    other = await post(ada, "other", reply_to=root["id"])
    await post(ada, "elsewhere")
    thread = await thread_of(ada, middle)
    assert [place["tweet"]["text"] for place in thread["ancestors"]] == ["root"]
    assert thread["tweet"]["id"] == middle["id"]
    assert [place["id"] for place in thread["descendants"]] == [leaf["id"]]
    whole = await thread_of(ada, root)
    assert [(place["id"], place["reply_to"]) for place in whole["descendants"]] == [
        (middle["id"], root["id"]),
        (leaf["id"], middle["id"]),
        (other["id"], root["id"]),
    ]


async def test_deleted_tweet_leaves_a_gap_in_its_thread(make_client: Any) -> None:
    ada = make_client()
    root = await post(ada, "root")
    middle = await post(ada, "middle", reply_to=root["id"])
    leaf = await post(ada, "leaf", reply_to=middle["id"])
    deepest = await post(ada, "deepest", reply_to=leaf["id"])
    assert (await ada.delete(f"/v1/tweets/{middle['id']}")).status_code == 204
    above = (await thread_of(ada, leaf))["ancestors"]
    assert [(place["id"], place["tweet"] is None) for place in above] == [(root["id"], False), (middle["id"], True)]
    below = (await thread_of(ada, root))["descendants"]
    assert [(place["id"], place["reply_to"], place["tweet"] is None) for place in below] == [
        (middle["id"], root["id"], True),
        (leaf["id"], middle["id"], False),
        (deepest["id"], leaf["id"], False),
    ]


async def test_thread_has_few_gaps_and_those_next_to_replies_first(make_client: Any, documents: Documents) -> None:
    ada = make_client()
    top = await post(ada, "top")
    now, top_id = now_in_milliseconds(), ObjectId(top["id"])
    replies = [
        new_tweet(ada.user_id, "reply")
        | {"ancestors": path, "reply_to": path[-1], "created_at": now + timedelta(milliseconds=number)}
        for number, path in enumerate([top_id, *(ObjectId() for _ in range(99))] for _ in range(100))
    ]
    documents["tweets"].insert_many(replies)
    with profiled(documents) as operations:
        places = (await thread_of(ada, top, limit=100))["descendants"]
    assert [place["id"] for place in places if place["tweet"]] == [str(reply["_id"]) for reply in replies]
    gaps = {place["id"] for place in places if place["tweet"] is None}
    assert gaps >= {str(reply["reply_to"]) for reply in replies}
    assert len(places) == 100 + len(gaps)
    assert len(gaps) == MAX_GAPS
    assert sum(operation["keysExamined"] for operation in operations if operation["op"] == "query") < 1000
    # A gap is above the replies to it.
    order = {place["id"]: number for number, place in enumerate(places)}
    assert all(order[place["reply_to"]] < order[place["id"]] for place in places if place["reply_to"] in order)


async def test_long_thread_is_read_page_by_page_without_false_gaps(make_client: Any) -> None:
    ada = make_client()
    root = parent = await post(ada, "root")
    replies = []
    for number in range(9):
        parent = await post(ada, f"reply {number}", reply_to=parent["id"])
        replies.append(parent)
    seen, cursor = [], None
    while True:
        thread = await thread_of(ada, root, limit=2, **({"cursor": cursor} if cursor else {}))
        assert all(place["tweet"] for place in thread["descendants"])
        seen += [place["id"] for place in thread["descendants"]]
        cursor = thread["next_cursor"]
        if cursor is None:
            break
    assert seen == [reply["id"] for reply in replies]


@ASIDE
@given(steps=st.lists(st.sampled_from(["post", "page"]), min_size=4, max_size=16), limit=st.integers(1, 3))
async def test_pages_neither_repeat_nor_skip_while_tweets_are_added(
    make_client: Any, steps: list[str], limit: int
) -> None:
    ada, tag = make_client(), f"page{secrets.token_hex(5)}"
    before = [(await post(ada, f"{number} #{tag}"))["id"] for number in range(7)]
    seen: list[str] = []
    cursor, ended = None, False
    # At last, page until the end.
    for step in itertools.chain(steps, itertools.repeat("page")):
        if ended:
            break
        if step == "post":
            await post(ada, f"later #{tag}")
        else:
            params = {"hashtag": tag, "limit": limit, **({"cursor": cursor} if cursor else {})}
            page = (await ada.get("/v1/tweets", params=params)).json()
            seen += [tweet["id"] for tweet in page["items"]]
            cursor, ended = page["next_cursor"], page["next_cursor"] is None
    assert len(seen) == len(set(seen))
    assert [tweet for tweet in seen if tweet in before] == list(reversed(before))


async def explain(app: FastAPI, pipeline: list[dict[str, Any]]) -> Any:
    """How MongoDB runs a pipeline on the tweets."""
    aggregate = {"aggregate": "tweets", "pipeline": pipeline, "cursor": {}}
    return await app.state.database.command("explain", aggregate, verbosity="queryPlanner")


async def test_every_query_has_its_index(app: FastAPI, make_client: Any) -> None:
    ada, bob = make_client(), make_client()
    tweet = await post(ada, "indexed #tag", reply_to=(await post(ada))["id"])
    await bob.put(f"/v1/tweets/{tweet['id']}/like")
    await bob.put(f"/v1/tweets/{tweet['id']}/repost")
    await bob.put(f"/v1/users/{ada.username}/follow")
    tweets, follows = app.state.services.tweet_repository, app.state.services.follow_repository
    likes = app.state.services.reactions._likes
    stored = await tweets.get_by_id(ObjectId(tweet["id"]))
    position: Position = (stored["created_at"], stored["_id"])
    by_id = (stored["created_at"], bob.user_id)
    queries = {
        **{
            f"{name}, {place}": tweets.newest_query(wanted, before=before, limit=5)
            for name, wanted in {
                "newest": {},
                "author": {"author_id": ada.user_id},
                "home": {"author_id": {"$in": [ada.user_id, bob.user_id]}},
                "hashtag": {"tags": "tag"},
                "hashtag with type": tagged("tag"),
                "reposts": reposts_of(stored["_id"]),
                "search": {"$text": {"$search": '"indexed"'}},
            }.items()
            for place, before in (("first page", None), ("later page", position))
        },
        "thread": tweets.descendants_query(stored["reply_to"], after=None, limit=5),
        "thread, later page": tweets.descendants_query(stored["reply_to"], after=position, limit=5),
        "likes": likes.newest_query(stored["_id"], None, 5),
        "likes, later page": likes.newest_query(stored["_id"], by_id, 5),
        "followers": follows.newest_query("followee_id", ada.user_id, None, 5),
        "following, later page": follows.newest_query("follower_id", bob.user_id, by_id, 5),
    }
    indexes = {
        "newest": "newest_first",
        "author": "by_author_newest_first",
        "home": "by_author_newest_first",
        "hashtag": "by_tag_newest_first",
        "hashtag with type": "by_tag_newest_first",
        "reposts": "reposts",
        "search": "words",
        "thread": "thread",
        "likes": "by_tweet_newest_first",
        "followers": "by_followee_id_newest_first",
        "following": "by_follower_id_newest_first",
    }
    for name, query in queries.items():
        explained = await query.explain()
        plan = str(explained["queryPlanner"]["winningPlan"])
        assert "COLLSCAN" not in str(explained), name
        assert f"'indexName': '{indexes[name.partition(',')[0]]}'" in plan, name
        if not name.startswith("search"):
            assert "'stage': 'SORT'" not in plan, name
    assert "COLLSCAN" not in str(await explain(app, tweets.tag_counts_pipeline(stored["created_at"], 5)))
    for collection in ("tweets", "tweet_counts", "users_copy"):
        found = app.state.database[collection].find({"_id": {"$in": [stored["_id"]]}})
        assert "COLLSCAN" not in str(await found.explain())


async def test_index_of_names_is_the_syncs_own_and_of_imported_ones_ours(app: FastAPI) -> None:
    plan = await app.state.database["imported_profiles"].find({"username": "x"}).explain()
    assert "COLLSCAN" not in str(plan)


@pytest.mark.parametrize(
    "path", ["/v1/timeline", "/v1/search?q=x", "/v1/tweets?hashtag=x", "/v1/users/ada_x/followers"]
)
async def test_cursor_that_was_not_handed_out_is_refused(make_client: Any, path: str) -> None:
    ada = make_client("ada_x")
    separator = "&" if "?" in path else "?"
    for cursor in ("x", "W10", "WzEsMl0", "é"):
        assert problem(await ada.get(f"{path}{separator}cursor={cursor}"))[0] == 422


async def test_concurrent_requests_get_their_own_results(make_client: Any) -> None:
    people = [make_client() for _ in range(10)]
    await asyncio.gather(*(post(person, f"of {person.username}") for person in people))
    for person in people:
        (tweet,) = await pages(person, f"/v1/users/{person.username}/tweets")
        assert tweet["text"] == f"of {person.username}"


async def test_tweets_of_the_release_before_are_found_and_counted_like_new_ones(
    app: FastAPI, make_client: Any, documents: Any
) -> None:
    ada, tag = make_client(), f"Ältere{secrets.token_hex(4)}"
    root = await post(ada, f"of old #{tag}")
    reply = await post(ada, "answer", reply_to=root["id"])
    old = {"_id": {"$in": [ObjectId(root["id"]), ObjectId(reply["id"])]}}
    documents["tweets"].update_many(old, {"$unset": {"tags": "", "ancestors": ""}})
    documents["tweet_counts"].delete_one({"_id": ObjectId(root["id"])})
    foreign = documents["tweets"].insert_one({"text": "put here by hand"}).inserted_id
    assert await upgrade_tweets(app.state.database) == 3
    documents["tweets"].delete_one({"_id": foreign})
    assert await upgrade_tweets(app.state.database) == 0
    assert [tweet["id"] for tweet in await pages(ada, "/v1/tweets", hashtag=tag.upper())] == [root["id"]]
    thread = await thread_of(ada, root)
    assert [place["id"] for place in thread["descendants"]] == [reply["id"]]
    assert thread["tweet"]["counts"]["replies"] == 1


@pytest.mark.parametrize("author_id", [5, None, ["list"], {"half": "a document"}, "u-half-copied"])
async def test_invalid_document_does_not_fail_concurrent_requests(
    make_client: Any, documents: Any, author_id: Any
) -> None:
    ada = make_client()
    documents["users_copy"].replace_one({"_id": "u-half-copied"}, {"_id": "u-half-copied"}, upsert=True)
    good = (await post(ada))["id"]
    stored = documents["tweets"].find_one({"_id": ObjectId(good)})
    bad = documents["tweets"].insert_one({**stored, "_id": ObjectId(), "author_id": author_id}).inserted_id
    urls = [f"/v1/tweets/{tweet}" for tweet in (good, bad, good)]
    try:
        with capture_logs():  # showing the traceback, which tests would do at length
            answers = await asyncio.gather(*map(ada.get, urls))
    finally:
        documents["tweets"].delete_one({"_id": bad})
    assert [answers[0].status_code, answers[2].status_code] == [200, 200]
    assert answers[0].json()["author"]["username"] == ada.username
