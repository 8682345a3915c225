"""What a search, trends and large counts cost is bounded, whatever the caller asks for."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pymongo.errors import ExecutionTimeout

from service_kit.problems import ServiceUnavailable
from support.responses import problem
from support.tweet_app import Documents, OwnDatabase, own_database, post, profiled
from tweet_service import database
from tweet_service.indexes import INDEXES
from tweet_service.limits import costly as costly_module
from tweet_service.limits.costly import CostlyCache, CostlyReads
from tweet_service.pagination import Position
from tweet_service.timelines import search as search_module
from tweet_service.timelines.problems import SearchTimeout
from tweet_service.timelines.search import TweetSearch
from tweet_service.timelines.words import MAX_PARTS, parse
from tweet_service.tweets import repository as tweets_module
from tweet_service.tweets.repository import TweetRepository, tagged
from tweet_service.users import counts as counts_module
from tweet_service.users.counts import LargeCounts

START = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT, OTHER = "192.0.2.1", "192.0.2.2"
CANDIDATES, WALK = 20, 50


@pytest.fixture(scope="module")
def own(mongodb_url: str) -> Iterator[OwnDatabase]:
    """300 tweets: `common` is in all, `half` in every other one, `rare` in three, `both` and `words` each in 40."""
    with own_database(mongodb_url) as own:
        texts = ["common"] * 300
        for number in range(300):
            texts[number] += " half" if number % 2 else ""
            texts[number] += " Rare Café" if number in (7, 150, 299) else ""
            texts[number] += " both" if number < 40 else ""
            texts[number] += " words" if number == 0 or number >= 260 else ""
        own.documents["tweets"].insert_many(
            {
                "_id": ObjectId(),
                "text": text,
                "author_id": "u-1",
                "created_at": START + timedelta(minutes=number // 2),
                "tags": [],
                "number": number,
            }
            for number, text in enumerate(texts)
        )
        # Of two authors and one hashtag.
        own.documents["tweets"].insert_many(
            {
                "_id": ObjectId(),
                "text": "",
                "author_id": "u-1" if number == 0 else "u-2",
                "created_at": START - timedelta(days=1, minutes=number),
                "tags": ["tag"],
            }
            for number in range(100)
        )
        yield own


@pytest.fixture
async def tweets(own: OwnDatabase) -> AsyncIterator[TweetRepository]:
    client = database.connect(own.url)
    await database.Preparation(client.get_default_database(), INDEXES).run()
    yield TweetRepository(client.get_default_database())
    client.close()


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_CANDIDATES", CANDIDATES)
    monkeypatch.setattr(search_module, "MAX_WALK", WALK)


async def numbers_of(
    search: TweetSearch, words: str, limit: int, documents: Documents
) -> tuple[list[int], list[list[dict[str, Any]]]]:
    """The numbers of all tweets that are found, page by page, and the operations of each page."""
    numbers: list[int] = []
    pages = []
    before: Position | None = None
    while True:
        with profiled(documents) as operations:
            found, end = await search.find(parse(words), client=CLIENT, before=before, limit=limit + 1)
        pages.append(operations)
        shown = list(found[:limit])
        numbers += [documents["tweets"].find_one({"_id": tweet["_id"]})["number"] for tweet in shown]
        before = (shown[-1]["created_at"], shown[-1]["_id"]) if len(found) > limit else end
        if before is None:
            return numbers, pages


EXPECTED = {
    "common": list(range(299, -1, -1)),
    "half COMMON": list(range(299, 0, -2)),
    "rare": [299, 150, 7],
    "cafe common": [299, 150, 7],
    '"rare café"': [299, 150, 7],
    '"common rare"': [150],
    "both words": [0],
    "both words half": [],
    "comm": [],
    "nothing": [],
}


@pytest.mark.parametrize("words", EXPECTED)
@pytest.mark.parametrize("limit", [7, 100])
async def test_every_page_reads_a_bounded_number_of_tweets_and_all_pages_find_all(
    tweets: TweetRepository, own: OwnDatabase, words: str, limit: int
) -> None:
    search = TweetSearch(tweets, CostlyReads(2))
    numbers, pages = await numbers_of(search, words, limit, own.documents)
    assert numbers == EXPECTED[words]
    bound = CANDIDATES * len(parse(words).words) + max(WALK, CANDIDATES)
    for operations in pages:
        assert operations
        assert sum(each["docsExamined"] for each in operations) <= bound
        assert "COLLSCAN" not in str([each["planSummary"] for each in operations])
    # What is known of the words is not asked again.
    assert len(pages[0]) <= len(parse(words).words) + 2
    assert all(len(operations) <= 2 for operations in pages[1:])


@pytest.mark.parametrize("words", ["rare café", '"Rare Cafe"', "RARE", "common words", "-common", "half"])
async def test_index_and_walk_find_the_same(
    tweets: TweetRepository, own: OwnDatabase, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for candidates in (1, 1000):
        monkeypatch.setattr(search_module, "MAX_CANDIDATES", candidates)
        found.append((await numbers_of(TweetSearch(tweets, CostlyReads(2)), words, 50, own.documents))[0])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "text",
    ["a" * 280, "é" * 280, "(" * 280, "[\\" * 140, "हिन्दी", "東京", "don't", "a\u0301", "x\x7fy", "x\0y", "$where"],
)
async def test_any_text_may_be_searched(tweets: TweetRepository, text: str) -> None:
    query = parse(text)
    found, _ = await TweetSearch(tweets, CostlyReads(2)).find(query, client=CLIENT, before=None, limit=5)
    assert found == []
    # As in a search whose words are all common.
    filters = [{"text": {"$regex": each, "$options": "i"}} for each in query.patterns]
    assert await tweets.walk(filters, before=None, end=None, limit=5) == []


async def test_search_that_takes_too_long_is_ended_by_mongodb(
    tweets: TweetRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_arguments: object) -> int:
        raise ExecutionTimeout("operation exceeded time limit", 50)

    costly = CostlyReads(1)
    monkeypatch.setattr(search_module, "SEARCH_SECONDS", 1e-6)
    with pytest.raises(SearchTimeout) as raised:
        await TweetSearch(tweets, costly).find(parse("common"), client=CLIENT, before=None, limit=5)
    assert (raised.value.status, raised.value.code) == (503, "search-timeout")
    assert raised.value.headers["Retry-After"]
    monkeypatch.setattr(tweets, "count_with_word", slow)
    with pytest.raises(SearchTimeout):
        await TweetSearch(tweets, costly).find(parse("half"), client=CLIENT, before=None, limit=5)
    # Its turn is free again.
    async with costly.turn(CLIENT):
        pass


async def test_so_many_costly_reads_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    costly, running, most = CostlyReads(2), itertools.count(), 0
    active = 0
    proceed = asyncio.Event()

    async def read() -> None:
        nonlocal active, most
        async with costly.turn(CLIENT):
            next(running)
            active += 1
            most = max(most, active)
            await proceed.wait()
            active -= 1

    async def refused() -> int:
        try:
            async with costly.turn(CLIENT):
                return 200
        except Exception as error:  # noqa: BLE001 - the problem of the service
            return getattr(error, "status", 0)

    monkeypatch.setattr(costly_module, "WAIT_SECONDS", 0.01)
    tasks = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.sleep(0)
    assert set(await asyncio.gather(*(refused() for _ in range(30)))) == {503}
    proceed.set()
    await asyncio.gather(*tasks)
    assert most == 2
    assert await refused() == 200


async def test_client_with_many_costly_reads_does_not_delay_another() -> None:
    costly, order = CostlyReads(1), []

    async def read(client: str) -> None:
        async with costly.turn(client):
            await asyncio.sleep(0)
            order.append(client)

    async with asyncio.TaskGroup() as tasks:
        for client in [CLIENT] * 30 + [OTHER] * 2:
            tasks.create_task(read(client))
    # The first one runs when the others arrive.
    assert order[:5] == [CLIENT, CLIENT, OTHER, CLIENT, OTHER]
    assert order[5:] == [CLIENT] * 27


@pytest.mark.parametrize("path", ["/v1/search?q=x", "/v1/trends?window=6h", "/v1/users/{username}"])
async def test_client_of_a_costly_read_is_its_network(
    app: Any, make_client: Any, clock: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    clients = []

    @asynccontextmanager
    async def turn(_costly: CostlyReads, client: str) -> AsyncIterator[None]:
        clients.append(client)
        yield

    monkeypatch.setattr(CostlyReads, "turn", turn)
    monkeypatch.setattr(counts_module, "EXACT", 1)
    author = make_client()
    await post(author)
    clock.forward(31)
    transport = httpx.ASGITransport(app, client=("2001:db8:0:1:2:3:4:5", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://tweets.test") as client:
        answer = await client.get(path.format(username=author.username))
    assert answer.status_code == 200
    assert clients == ["2001:db8:0:1::/64"]


async def test_result_is_read_again_after_some_time_and_kept_while_there_is_no_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costly_module, "WAIT_SECONDS", 0.01)
    costly, time = CostlyReads(1), 0.0
    cache: CostlyCache[str, int] = CostlyCache(costly, size=10, seconds=30, clock=lambda: time)
    results = itertools.count(1)

    async def read() -> int:
        return next(results)

    assert [await cache.get("key", client, read) for client in (CLIENT, OTHER)] == [1, 1]
    time = 31.0
    async with costly.turn(CLIENT):
        assert await cache.get("key", OTHER, read) == 1
        with pytest.raises(ServiceUnavailable):
            await cache.get("another key", OTHER, read)
    assert await asyncio.gather(*(cache.get("key", OTHER, read) for _ in range(9))) == [2] * 9


async def test_profile_has_a_lower_bound_of_a_large_count_while_there_is_no_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costly_module, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(counts_module, "EXACT", 5)
    costly = CostlyReads(1)
    counts = LargeCounts(costly, lambda: 0.0)

    async def large(limit: int | None) -> int:
        return min(100, limit or 100)

    async def small(_limit: int | None) -> int:
        return 3

    async with costly.turn(CLIENT):
        assert await counts.get("u", OTHER, {"tweets": large, "followers": small}) == {"tweets": 5, "followers": 3}
    assert await counts.get("u", OTHER, {"tweets": large, "followers": small}) == {"tweets": 100, "followers": 3}


async def test_more_words_than_allowed_are_an_error_of_the_parameter(anonymous: Any) -> None:
    allowed = " ".join(f"w{number}" for number in range(MAX_PARTS))
    assert (await anonymous.get("/v1/search", params={"q": allowed})).status_code == 200
    refused = await anonymous.get("/v1/search", params={"q": f"{allowed} one"})
    assert problem(refused) == (422, "validation-failed")
    assert refused.json()["errors"] == [
        {"detail": "At most 10 words and phrases", "code": "too-many-words", "parameter": "q"}
    ]


async def test_search_counts_as_many_reads(anonymous: Any) -> None:
    def left(answer: Any) -> int:
        return int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0])

    before = left(await anonymous.get("/v1/tweets"))
    assert left(await anonymous.get("/v1/search", params={"q": "x"})) in (before - 20, 60_000 - 20)


async def test_trends_are_cached_and_read_the_newest_tweets_only(
    app: Any, anonymous: Any, documents: Documents, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tweets_module, "MAX_TWEETS_OF_TRENDS", 3)
    tag = f"trend{secrets.token_hex(4)}"
    now = datetime.now(UTC)
    documents["tweets"].insert_many(
        {"_id": ObjectId(), "text": "", "author_id": "u", "created_at": now + timedelta(days=1), "tags": [tag]}
        for _ in range(7)
    )
    clock.forward(31)
    try:
        with profiled(documents) as operations:
            answers = await asyncio.gather(*(anonymous.get("/v1/trends?window=7d") for _ in range(30)))
        assert {answer.json()["items"][0]["tweets"] for answer in answers} == {3}
        # As many requests as have a turn may find the cache empty.
        assert 1 <= len(operations) <= 2
        assert {each["docsExamined"] for each in operations} == {3}
        clock.forward(31)
        with profiled(documents) as operations:
            await anonymous.get("/v1/trends?window=7d")
        assert len(operations) == 1
    finally:
        documents["tweets"].delete_many({"tags": tag})


async def test_large_counts_are_cached_and_small_ones_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_module, "EXACT", 5)
    stored, limits, time = 4, [], 0.0

    async def count(limit: int | None) -> int:
        limits.append(limit)
        return stored if limit is None else min(stored, limit)

    counts = LargeCounts(CostlyReads(1), lambda: time)

    async def tweets() -> int:
        return (await counts.get("u", CLIENT, {"tweets": count}))["tweets"]

    assert await tweets() == 4
    stored = 100
    assert await asyncio.gather(*(tweets() for _ in range(9))) == [100] * 9
    assert limits.count(None) == 1
    stored = 101
    assert await tweets() == 100
    time = 31.0
    assert await tweets() == 101
    stored = 3
    assert await tweets() == 3


async def test_counts_read_an_index_only(tweets: TweetRepository, own: OwnDatabase) -> None:
    with profiled(own.documents) as operations:
        assert await tweets.count_by("u-1", 100) == 100
        assert await tweets.count_by("u-1") == 301
        position = await tweets.position_after(None, 50)
        assert position is not None
        assert await tweets.position_after(position, 400) is None
        assert await tweets.position_after(position, 10) is not None
    assert [each["docsExamined"] for each in operations] == [0] * 5
    assert operations[0]["keysExamined"] <= 101


async def test_list_by_author_and_hashtag_reads_only_what_it_returns(tweets: TweetRepository, own: OwnDatabase) -> None:
    with profiled(own.documents) as operations:
        found = await tweets.newest({"author_id": "u-1", **tagged("tag")}, before=None, limit=21)
    assert [tweet["author_id"] for tweet in found] == ["u-1"]
    assert [each["docsExamined"] for each in operations] == [1]


async def test_walk_reads_the_tweets_between_two_positions_also_at_one_time(
    tweets: TweetRepository, own: OwnDatabase
) -> None:
    stored = [
        (tweet["created_at"], tweet["_id"]) for tweet in await tweets.walk([{}], before=None, end=None, limit=400)
    ]
    assert stored == sorted(stored, reverse=True)
    with profiled(own.documents) as operations:
        found = await tweets.walk([{"text": {"$exists": True}}], before=stored[2], end=stored[7], limit=100)
    assert [tweet["_id"] for tweet in found] == [tweet_id for _, tweet_id in stored[3:8]]
    assert [each["docsExamined"] for each in operations] == [5]
