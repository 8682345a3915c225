"""What no well-meaning client sends: each gets an answer that OpenAPI describes, and none a 500 or a 503."""

import base64
import re
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from support.responses import problem
from tweet_service.timelines import search as search_module

MakeClient = Callable[..., httpx.AsyncClient]


def cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()


@pytest.fixture
async def tweet(make_client: MakeClient) -> dict[str, Any]:
    """A tweet of another user, and its author as a client."""
    author = make_client()
    posted = (await author.post("/v1/tweets", json={"text": "odd #tandem"})).raise_for_status().json()
    return {**posted, "client": author}


INVALID, INVALID_CURSOR = (422, "validation-failed"), (422, "invalid-cursor")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"/v1/tweets?limit={'9' * 5000}", INVALID),
        ("/v1/tweets?limit=1e1", INVALID),
        ("/v1/tweets?since=0001-01-01T00:00:00%2B23:59", INVALID),
        ("/v1/tweets?until=0.5", INVALID),
        ("/v1/tweets?hashtag=", INVALID),
        ("/v1/search?q=", INVALID),
        (f"/v1/search?q={'a' * 281}", INVALID),
        ("/v1/trends?window=1y", INVALID),
        ("/v1/tweets?cursor=" + cursor('[1,"\u00e9"]'), INVALID_CURSOR),
        ("/v1/tweets?cursor=" + cursor('[true,"000000000000000000000000"]'), INVALID_CURSOR),
        ("/v1/tweets?cursor=" + cursor(f'[{"9" * 100},"000000000000000000000000"]'), INVALID_CURSOR),
        ("/v1/tweets?cursor=" + cursor('[1,{"$gt":""}]'), INVALID_CURSOR),
        # NUL, no UTF-8, and half of a surrogate pair, in any parameter.
        *(
            (f"/v1/{target}={text}", INVALID)
            for target in ("search?q", "tweets?hashtag", "tweets?author", "tweets?cursor", "tweets?unknown")
            for text in ("%00", "a%00b", "%ff", "%ED%A0%80")
        ),
        ("/v1/tweets?cursor=", INVALID_CURSOR),
        ("/v1/tweets/%00", (404, "tweet-not-found")),
        ("/v1/tweets/%F0%9F%98%80/thread", (404, "tweet-not-found")),
        ("/v1/tweets/000000000000000000000000%0A/likes", (404, "tweet-not-found")),
        ("/v1/users/%00", (404, "user-not-found")),
        ("/v1/users/%ff/tweets", (404, "user-not-found")),
        ("/v1/users/$gt/followers", (404, "user-not-found")),
        (f"/v1/users/{'x' * 101}", INVALID),
    ],
)
async def test_odd_address(anonymous: httpx.AsyncClient, target: str, expected: tuple[int, str]) -> None:
    assert problem(await anonymous.get(target)) == expected


@pytest.mark.parametrize(
    "target",
    [
        "/v1/search?q=!!!",
        "/v1/search?q=%22",
        "/v1/search?q=%22%22",
        "/v1/search?q=-",
        "/v1/search?q=-tandem",
        "/v1/search?q=%5C",
        "/v1/search?q=%5C%22",
        "/v1/search?q=%F0%9F%98%80",
        "/v1/search?q=%20%09%0A",
        "/v1/search?q=" + "%EF%B7%BA" * 280,
        "/v1/tweets?hashtag=%23",
        "/v1/tweets?hashtag=" + "%EF%B7%BA" * 280,
        "/v1/tweets?author=$gt",
        "/v1/tweets?since=0001-01-01t00:00:00z&until=9999-12-31T23:59:59.999999Z",
        "/v1/tweets?cursor=" + cursor('[-62135596800000,"000000000000000000000000"]'),
        "/v1/tweets?cursor=" + cursor('[253402300799999,"ffffffffffffffffffffffff"]'),
    ],
)
async def test_address_that_is_only_unusual(anonymous: httpx.AsyncClient, tweet: dict[str, Any], target: str) -> None:
    answer = await anonymous.get(target)
    assert answer.status_code == 200, answer.text


# The ends of the calendar and of the ids, and 1970.
ENDS = [
    f'[{time},"{end * 24}"]'
    for time in (-62135596800000, -62135596799999, -1, 0, 1, 253402300799998, 253402300799999)
    for end in "0f"
]


@pytest.mark.parametrize("position", ENDS)
async def test_cursor_at_the_ends_of_the_calendar(
    anonymous: httpx.AsyncClient, tweet: dict[str, Any], position: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every word is common, so that its search walks through the tweets by time.
    monkeypatch.setattr(search_module, "MAX_CANDIDATES", 1)
    author, path, word = tweet["client"], f"/v1/tweets/{tweet['id']}", f"w{secrets.token_hex(5)}"
    reply = {"text": word, "reply_to": tweet["id"]}
    (await author.post("/v1/tweets", json=reply)).raise_for_status()
    for caller, target in (
        (anonymous, f"/v1/search?q={word}"),
        (anonymous, "/v1/tweets"),
        (anonymous, "/v1/tweets?hashtag=tandem&since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59.999999Z"),
        (anonymous, f"/v1/tweets?author={author.username}"),
        (anonymous, f"/v1/users/{author.username}/tweets"),
        (anonymous, f"/v1/users/{author.username}/followers"),
        (anonymous, f"{path}/thread"),
        (anonymous, f"{path}/likes"),
        (anonymous, f"{path}/reposts"),
        (author, "/v1/timeline"),
    ):
        answer = await caller.get(target, params={**httpx.URL(target).params, "cursor": cursor(position)})
        assert answer.status_code == 200, (target, answer.text)


@pytest.mark.parametrize("time", [-62135596800001, 253402300800000, -(2**63), 2**63, 10**30])
async def test_cursor_outside_of_the_calendar(anonymous: httpx.AsyncClient, tweet: dict[str, Any], time: int) -> None:
    outside = cursor(f'[{time},"{"0" * 24}"]')
    for target in ("/v1/search?q=odd", "/v1/tweets", f"/v1/tweets/{tweet['id']}/likes"):
        answer = await anonymous.get(target, params={**httpx.URL(target).params, "cursor": outside})
        assert problem(answer) == INVALID_CURSOR


async def test_cursor_with_half_a_character(tweet: dict[str, Any]) -> None:
    """JSON can spell it, and no database takes it."""
    client, odd = tweet["client"], cursor('[1,"\\ud800"]')
    for path in (f"/v1/tweets/{tweet['id']}/likes", f"/v1/users/{client.username}/followers"):
        assert problem(await client.get(path, params={"cursor": odd})) == INVALID_CURSOR


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"text": "\\ud800"}', INVALID),
        (b'{"text": "\\u0000\\u200b"}', INVALID),
        (b'{"text": "a\\u0000b"}', INVALID),
        (b'{"text": 1}', INVALID),
        (b'{"text": "x", "reply_to": ""}', INVALID),
        (b'{"text": "x", "reply_to": "000000000000000000000000\\n"}', INVALID),
        (b'{"text": "x", "reply_to": {"$gt": ""}}', INVALID),
        (b'{"text": "x", "reply_to": "000000000000000000000000"}', (422, "referenced-tweet-not-found")),
        (b'{"text": "x", "$where": "1"}', INVALID),
        (b'{"text": NaN}', INVALID),
        (b'{"text": ' + b"9" * 5000 + b"}", (400, "bad-request")),
        (b"[" * 100_000, (400, "bad-request")),
        (b"\xff", (400, "bad-request")),
        (b"", INVALID),
    ],
)
async def test_odd_body(make_client: MakeClient, body: bytes, expected: tuple[int, str]) -> None:
    answer = await make_client().post("/v1/tweets", content=body, headers={"Content-Type": "application/json"})
    assert problem(answer) == expected


@pytest.mark.parametrize("sign", ["#", "\uff03", ""])
async def test_hashtag_is_found_with_any_sign(anonymous: httpx.AsyncClient, make_client: MakeClient, sign: str) -> None:
    posted = (await make_client().post("/v1/tweets", json={"text": "\uff03Ｗide"})).json()
    found = (await anonymous.get("/v1/tweets", params={"hashtag": f"{sign}wide"})).json()["items"]
    assert posted["id"] in [each["id"] for each in found]


ODD_HEADERS = [b"", b'"', b'""', b"\xe9\xff", b"W/", b",,,", b'"1-zz"', b'"' + b"9" * 5000 + b'"', b"x" * 60_000]


@pytest.mark.parametrize("value", ODD_HEADERS, ids=lambda value: repr(value[:8]))
async def test_odd_entity_tags_match_nothing(tweet: dict[str, Any], value: bytes) -> None:
    client, url = tweet["client"], f"/v1/tweets/{tweet['id']}"
    assert (await client.get(url, headers={b"If-None-Match": value})).status_code == 200
    edit = await client.patch(url, json={"text": "x"}, headers={b"If-Match": value})
    assert problem(edit) == (412, "stale-version")


async def test_entity_tags_in_several_lines_are_one_list(tweet: dict[str, Any]) -> None:
    client, url = tweet["client"], f"/v1/tweets/{tweet['id']}"
    lines = [("If-Match", '"7"'), ("If-Match", '"1"')]
    assert (await client.patch(url, json={"text": "x"}, headers=lines)).status_code == 200


@pytest.mark.parametrize(
    ("key", "status"), [(b"", 422), (b"x" * 201, 422), (b"\xe9\xff", 201), (b"$gt", 201), (b"x" * 200, 201)]
)
async def test_odd_idempotency_key(make_client: MakeClient, key: bytes, status: int) -> None:
    client = make_client()
    answers = [await client.post("/v1/tweets", json={"text": "x"}, headers={b"Idempotency-Key": key}) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {status}
    assert len({answer.json().get("id") for answer in answers}) == 1


async def test_count_is_never_below_zero(make_client: MakeClient) -> None:
    """A repost that comes back has the id that it had, and a reply to it may have been deleted meanwhile."""
    ada, bob = make_client(), make_client()
    original = (await ada.post("/v1/tweets", json={"text": "x"})).json()["id"]
    repost = (await bob.put(f"/v1/tweets/{original}/repost")).json()["id"]
    reply = (await ada.post("/v1/tweets", json={"text": "y", "reply_to": repost})).json()["id"]
    assert (await bob.delete(f"/v1/tweets/{repost}")).status_code == 204
    assert (await ada.delete(f"/v1/tweets/{reply}")).status_code == 204
    assert (await bob.put(f"/v1/tweets/{original}/repost")).json()["counts"]["replies"] == 0


async def test_thread_links_to_its_next_page(tweet: dict[str, Any]) -> None:
    client, url = tweet["client"], f"/v1/tweets/{tweet['id']}/thread"
    for text in ("one", "two"):
        (await client.post("/v1/tweets", json={"text": text, "reply_to": tweet["id"]})).raise_for_status()
    first = await client.get(url, params={"limit": 1})
    following = re.fullmatch(r'<([^>]+)>; rel="next"', first.headers["link"])
    assert following is not None
    second = await client.get(following[1])
    assert [each["tweet"]["text"] for each in second.json()["descendants"]] == ["two"]
    assert "link" not in second.headers
