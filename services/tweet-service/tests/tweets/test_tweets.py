"""Tweets over HTTP, on a real MongoDB."""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from support.jwt_issuer import Issuer
from support.responses import problem
from support.tweet_app import post

Documents = Database[dict[str, Any]]
UNKNOWN_ID = "0" * 24
LIVE = {"operation": "c", "deleted_at": None}


def as_caller(issuer: Issuer, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.token(**claims)}"}


async def test_posted_tweet_is_complete_and_readable_by_anyone(ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/v1/tweets", json={"text": "héllo #tandem @bob https://example.org/a?b=#c."})
    assert answer.status_code == 201
    tweet = answer.json()
    assert tweet["author"]["username"] == "ada"
    assert (tweet["version"], tweet["edited_at"], tweet["reply_to"]) == (1, None, None)
    assert tweet["counts"] == {"likes": 0, "reposts": 0, "replies": 0}
    assert tweet["entities"] == {
        "hashtags": [{"tag": "tandem", "start": 6, "end": 13}],
        "mentions": [{"username": "bob", "start": 14, "end": 18}],
        "urls": [{"url": "https://example.org/a?b=#c", "start": 19, "end": 45}],
    }
    read = await ada.get(answer.headers["location"])
    assert read.json() == tweet
    assert read.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("x" * 280, 201),
        ("x" * 281, 422),
        ("e\u0301" * 280, 201),  # 280 code points after NFC
        ("👩‍👩‍👧‍👦" * 40, 201),  # 7 code points each
        ("👩‍👩‍👧‍👦" * 41, 422),
        ("", 422),
        (" \n\u200b\u3000", 422),
        ("x" * 100_000, 422),
        (5, 422),
        (None, 422),
    ],
)
async def test_text_is_1_to_280_code_points_after_nfc(ada: httpx.AsyncClient, text: Any, status: int) -> None:
    answer = await ada.post("/v1/tweets", json={"text": text})
    assert answer.status_code == status, answer.text
    if status == 201:
        assert answer.json()["text"] == unicodedata.normalize("NFC", text)
    else:
        assert answer.json()["errors"][0]["pointer"] == "#/text"


async def test_unknown_field_is_refused_by_its_pointer(ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/v1/tweets", json={"text": "x", "author_id": "another user"})
    assert problem(answer) == (422, "validation-failed")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/author_id"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"text": "\xff"}', b'{"text": "\\ud800"}', b'{"\\ud800": 1}', b"null"]
)
async def test_body_that_is_no_tweet_is_refused(ada: httpx.AsyncClient, body: bytes) -> None:
    answer = await ada.post("/v1/tweets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_reply_is_counted_and_must_refer_to_a_tweet(ada: httpx.AsyncClient) -> None:
    first = await post(ada)
    reply = await post(ada, reply_to=first["id"])
    assert reply["reply_to"] == first["id"]
    assert (await ada.get(f"/v1/tweets/{first['id']}")).json()["counts"]["replies"] == 1
    missing = await ada.post("/v1/tweets", json={"text": "x", "reply_to": UNKNOWN_ID, "quote_of": first["id"]})
    assert problem(missing) == (422, "referenced-tweet-not-found")
    assert [error["pointer"] for error in missing.json()["errors"]] == ["#/reply_to"]


@pytest.mark.parametrize("tweet_id", [UNKNOWN_ID, "nonsense", "%00", "6924ea2f0c9d3a5b7e1f4a6"])
async def test_tweet_that_is_not_there_is_404(ada: httpx.AsyncClient, tweet_id: str) -> None:
    for method in ("GET", "DELETE"):
        assert problem(await ada.request(method, f"/v1/tweets/{tweet_id}")) == (404, "tweet-not-found")


async def test_unchanged_tweet_is_not_sent_again(ada: httpx.AsyncClient) -> None:
    tweet = await post(ada)
    etag = (await ada.get(f"/v1/tweets/{tweet['id']}")).headers["etag"]
    for header in (etag, f'"other", W/{etag}', "*"):
        again = await ada.get(f"/v1/tweets/{tweet['id']}", headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b"")
    await post(ada, reply_to=tweet["id"])
    changed = await ada.get(f"/v1/tweets/{tweet['id']}", headers={"If-None-Match": etag})
    assert changed.status_code == 200


async def test_edit_is_guarded_by_the_version_and_keeps_the_history(
    ada: httpx.AsyncClient, documents: Documents
) -> None:
    tweet = await post(ada, "frist")
    url = f"/v1/tweets/{tweet['id']}"
    assert problem(await ada.patch(url, json={"text": "x"})) == (428, "version-required")
    edited = await ada.patch(url, json={"text": "first #now"}, headers={"If-Match": '"1"'})
    assert edited.status_code == 200
    assert (edited.json()["text"], edited.json()["version"]) == ("first #now", 2)
    assert edited.json()["edited_at"] is not None
    assert edited.json()["entities"]["hashtags"][0]["tag"] == "now"
    assert problem(await ada.patch(url, json={"text": "x"}, headers={"If-Match": '"1"'})) == (412, "stale-version")
    (stored,) = documents["tweets"].find({"text": "first #now", "author_id": tweet["author"]["id"]})
    assert [edit["text"] for edit in stored["edits"]] == ["frist"]


async def test_of_concurrent_edits_of_one_version_exactly_one_wins(ada: httpx.AsyncClient) -> None:
    tweet = await post(ada)
    answers = await asyncio.gather(
        *(
            ada.patch(f"/v1/tweets/{tweet['id']}", json={"text": f"edit {n}"}, headers={"If-Match": '"1"'})
            for n in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_only_the_author_edits_and_an_admin_may_delete(ada: httpx.AsyncClient, issuer: Issuer) -> None:
    tweet = await post(ada)
    url = f"/v1/tweets/{tweet['id']}"
    stranger = as_caller(issuer, sub="u-mallory", username="mallory")
    admin = as_caller(issuer, sub="u-root", username="root", role="admin")
    edit = await ada.patch(url, json={"text": "x"}, headers={"If-Match": '"1"', **stranger})
    assert problem(edit) == (403, "not-the-author")
    assert problem(await ada.delete(url, headers=stranger)) == (403, "not-the-author")
    admins_edit = await ada.patch(url, json={"text": "x"}, headers={"If-Match": '"1"', **admin})
    assert problem(admins_edit) == (403, "not-the-author")
    assert (await ada.delete(url, headers=admin)).status_code == 204
    assert problem(await ada.get(url)) == (404, "tweet-not-found")


async def test_pages_are_newest_first_and_stable_while_tweets_come_in(ada: httpx.AsyncClient) -> None:
    posted = [(await post(ada, f"number {n}"))["id"] for n in range(7)]
    seen: list[str] = []
    url: str | None = "/v1/tweets?author=ada&limit=3"
    pages = 0
    while url is not None:
        page = await ada.get(url)
        assert page.status_code == 200, page.text
        seen += [tweet["id"] for tweet in page.json()["items"]]
        link = page.headers.get("link")
        assert (link is None) == (page.json()["next_cursor"] is None)
        url = link[link.index("<") + 1 : link.index(">")] if link else None
        pages += 1
        await post(ada, f"meanwhile {pages}")
    assert seen == posted[::-1]
    assert pages == 3


async def test_tweets_of_one_millisecond_are_neither_repeated_nor_left_out(
    ada: httpx.AsyncClient, documents: Documents
) -> None:
    ids = [(await post(ada))["id"] for _ in range(5)]
    author = (await ada.get(f"/v1/tweets/{ids[0]}")).json()["author"]["id"]
    first = documents["tweets"].find_one({"author_id": author})
    assert first is not None
    documents["tweets"].update_many({"author_id": author}, {"$set": {"created_at": first["created_at"]}})
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"author": "ada", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await ada.get("/v1/tweets", params=parameters)).json()
        seen += [tweet["id"] for tweet in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)


@pytest.mark.parametrize("cursor", ["", "x", "W10", "WzEsMl0", "WzFlMzAsIngiXQ", "é"])
async def test_cursor_that_was_not_handed_out_is_refused(ada: httpx.AsyncClient, cursor: str) -> None:
    assert problem(await ada.get("/v1/tweets", params={"cursor": cursor})) == (422, "invalid-cursor")


@pytest.mark.parametrize("limit", [0, 101, "many"])
async def test_limit_out_of_range_is_refused(ada: httpx.AsyncClient, limit: Any) -> None:
    assert problem(await ada.get("/v1/tweets", params={"limit": limit})) == (422, "validation-failed")


async def test_openapi_documents_every_status_with_an_example(ada: httpx.AsyncClient) -> None:
    document = (await ada.get("/openapi.json")).json()
    assert set(document["paths"]["/v1/tweets/{tweet_id}"]["patch"]["responses"]) == {
        "200", "400", "401", "403", "404", "412", "413", "415", "422", "428", "429", "503",
    }  # fmt: skip
    examples = document["paths"]["/v1/tweets"]["post"]["responses"]["401"]["content"]["application/problem+json"][
        "examples"
    ]
    assert "invalid-token" in examples
    tweet = document["components"]["schemas"]["Tweet"]
    assert {"author", "author_deleted"} <= set(tweet["required"])
    assert tweet["properties"]["author_deleted"]["type"] == "boolean"
    assert {"type": "null"} in tweet["properties"]["author"]["anyOf"]


async def test_author_names_come_from_the_copy_as_soon_as_it_is_there(
    ada: httpx.AsyncClient, anonymous: httpx.AsyncClient, issuer: Issuer, documents: Documents
) -> None:
    user_id = f"u-{secrets.token_hex(6)}"
    headers = as_caller(issuer, sub=user_id, username="grace", name="Grace")
    posted = await ada.post("/v1/tweets", json={"text": "x"}, headers=headers)
    url = posted.headers["location"]
    assert posted.json()["author"] == {"id": user_id, "username": "grace", "name": "Grace"}
    by_others = await anonymous.get(url, headers={"Authorization": ""})
    assert by_others.json()["author"] == {"id": user_id, "username": None, "name": None}
    # Not here yet is not deleted.
    assert posted.json()["author_deleted"] is by_others.json()["author_deleted"] is False

    documents["users_copy"].insert_one(
        {"_id": user_id, "username": "grace", "name": "Grace", "is_active": True, "_sync": LIVE}
    )
    assert (await anonymous.get(url)).json()["author"]["username"] == "grace"
    documents["users_copy"].update_one({"_id": user_id}, {"$set": {"username": "admiral"}})
    assert (await anonymous.get(url)).json()["author"]["username"] == "admiral"
    assert [tweet["id"] for tweet in (await anonymous.get("/v1/tweets?author=admiral")).json()["items"]] == [
        posted.json()["id"]
    ]
    assert (await anonymous.get("/v1/tweets?author=nobody")).json() == {"items": [], "next_cursor": None}


async def test_tweets_of_a_deleted_user_stay_and_are_shown_as_such_everywhere(
    ada: httpx.AsyncClient, issuer: Issuer, documents: Documents, leave_tombstone: Callable[[str], None]
) -> None:
    user_id, username = f"u-{secrets.token_hex(6)}", f"name{secrets.token_hex(6)}"
    documents["users_copy"].insert_one(
        {"_id": user_id, "username": username, "name": "Grace", "is_active": True, "_sync": LIVE}
    )
    headers = as_caller(issuer, sub=user_id, username=username)
    tweet = (await ada.post("/v1/tweets", json={"text": "x"}, headers=headers)).json()
    url, of_author = f"/v1/tweets/{tweet['id']}", {"author": username}
    before = await ada.get(url)
    assert (before.json()["author"]["username"], before.json()["author_deleted"]) == (username, False)
    (found,) = (await ada.get("/v1/tweets", params=of_author)).json()["items"]
    assert (found["id"], found["author_deleted"]) == (tweet["id"], False)

    leave_tombstone(user_id)
    after = await ada.get(url, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.json() == {**tweet, "author": None, "author_deleted": True}
    again = await ada.get(url, headers={"If-None-Match": after.headers["etag"]})
    assert again.status_code == 304
    own = await post(ada)
    listed = {each["id"]: each for each in (await ada.get("/v1/tweets", params={"limit": 2})).json()["items"]}
    assert listed[tweet["id"]] == after.json()
    assert (listed[own["id"]]["author"]["username"], listed[own["id"]]["author_deleted"]) == ("ada", False)
    assert (await ada.get("/v1/tweets", params=of_author)).json() == {"items": [], "next_cursor": None}


async def test_username_of_a_deleted_user_finds_its_new_owner(
    ada: httpx.AsyncClient, issuer: Issuer, documents: Documents, leave_tombstone: Callable[[str], None]
) -> None:
    username = f"name{secrets.token_hex(6)}"
    former, present = f"u-{secrets.token_hex(6)}", f"u-{secrets.token_hex(6)}"
    posted = []
    for user_id in (former, present):
        documents["users_copy"].insert_one(
            {"_id": user_id, "username": username, "name": "G", "is_active": True, "_sync": LIVE}
        )
        headers = as_caller(issuer, sub=user_id, username=username)
        posted.append((await ada.post("/v1/tweets", json={"text": "x"}, headers=headers)).json()["id"])
        if user_id == former:
            leave_tombstone(former)
    items = (await ada.get("/v1/tweets", params={"author": username})).json()["items"]
    assert [tweet["id"] for tweet in items] == posted[1:]
