"""Concurrent requests are one query."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, DuplicateKeyError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from tweet_service.batching import MAX_BATCH, BatchInserter, BatchLoader, by_id


class Squares:
    """Finds squares of even numbers, records the queries, and waits until `open` is set."""

    def __init__(self) -> None:
        self.asked: list[set[int]] = []
        self.arrived: asyncio.Queue[None] = asyncio.Queue()
        self.open = asyncio.Event()
        self.open.set()

    async def find(self, numbers: set[int]) -> dict[int, int]:
        self.asked.append(numbers)
        self.arrived.put_nowait(None)
        await self.open.wait()
        if -1 in numbers:
            raise AutoReconnect("away")
        if -2 in numbers:
            raise ValueError("what is stored of -2 is no number")
        return {number: number**2 for number in numbers if number % 2 == 0}


@pytest.fixture
def squares() -> Squares:
    return Squares()


@pytest.fixture
def loader(squares: Squares) -> BatchLoader[int, int]:
    return BatchLoader(squares.find)


async def test_concurrent_requests_share_a_query(squares: Squares, loader: BatchLoader[int, int]) -> None:
    single, several = [loader.get(number) for number in (2, 3, 2)], loader.get_many([3, 4, 4])
    assert await asyncio.gather(*single, several) == [4, None, 4, {4: 16}]
    assert squares.asked == [{2, 3, 4}]


async def test_result_is_never_older_than_its_request(squares: Squares, loader: BatchLoader[int, int]) -> None:
    squares.open.clear()
    early = asyncio.create_task(loader.get(2))
    await squares.arrived.get()
    late = asyncio.create_task(loader.get(2))
    await squares.arrived.get()
    squares.open.set()
    assert await asyncio.gather(early, late) == [4, 4]
    assert await loader.get(2) == 4
    assert squares.asked == [{2}, {2}, {2}]


async def test_error_of_the_database_is_the_error_of_the_whole_batch_only(
    squares: Squares, loader: BatchLoader[int, int]
) -> None:
    failed = await asyncio.gather(loader.get(-1), loader.get_many([2]), return_exceptions=True)
    assert [type(each) for each in failed] == [AutoReconnect, AutoReconnect]
    assert await loader.get(2) == 4


async def test_error_of_one_document_is_the_error_of_its_request_only(
    loader: BatchLoader[int, int],
) -> None:
    answers = await asyncio.gather(
        loader.get(2), loader.get_many([4, -2]), loader.get_many([4, 6]), return_exceptions=True
    )
    assert answers[0] == 4
    assert isinstance(answers[1], ValueError)
    assert answers[2] == {4: 16, 6: 36}


async def test_cancelled_request_does_not_affect_the_others(squares: Squares, loader: BatchLoader[int, int]) -> None:
    squares.open.clear()
    gone, staying = asyncio.create_task(loader.get(2)), asyncio.create_task(loader.get(4))
    await squares.arrived.get()
    gone.cancel()
    squares.open.set()
    assert await staying == 16
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_very_many_requests_are_several_queries(squares: Squares, loader: BatchLoader[int, int]) -> None:
    numbers = range(2 * MAX_BATCH + 1)
    found = await asyncio.gather(*map(loader.get, numbers))
    assert found == [number**2 if number % 2 == 0 else None for number in numbers]
    assert [len(asked) for asked in squares.asked] == [MAX_BATCH, MAX_BATCH, 1]


async def test_request_without_keys_needs_no_query(squares: Squares, loader: BatchLoader[int, int]) -> None:
    assert await loader.get_many([]) == {}
    assert squares.asked == []


class Commands(CommandListener):
    """The names of the commands that the driver has sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
async def collection(database_url: str, commands: Commands) -> AsyncIterator[Any]:
    """An empty one that takes no name twice."""
    client: Any = AsyncIOMotorClient(database_url, event_listeners=[commands])
    collection = client.get_default_database()["gathered"]
    await collection.create_index("name", unique=True)
    yield collection
    await collection.drop()
    client.close()


async def test_documents_stored_at_the_same_time_are_one_command(collection: Any, commands: Commands) -> None:
    inserts = BatchInserter(collection)
    await asyncio.gather(*(inserts.insert({"_id": number, "name": number}) for number in range(20)))
    assert commands.names.count("insert") == 1
    assert await collection.count_documents({}) == 20


async def test_document_that_is_refused_takes_no_other_with_it(collection: Any) -> None:
    inserts = BatchInserter(collection)
    documents = [{"_id": number, "name": name} for number, name in enumerate("abac")]
    errors = await asyncio.gather(*map(inserts.insert, documents), return_exceptions=True)
    assert [type(error) for error in errors] == [type(None), type(None), DuplicateKeyError, type(None)]
    assert [document["_id"] async for document in collection.find().sort("_id")] == [0, 1, 3]


async def test_document_that_can_not_be_written_takes_no_other_with_it(collection: Any) -> None:
    inserts = BatchInserter(collection)
    documents = [{"_id": 0, "name": "a"}, {"_id": 1, "name": "\ud800"}, {"_id": 2, "name": "c"}]
    errors = await asyncio.gather(*map(inserts.insert, documents), return_exceptions=True)
    assert isinstance(errors[1], UnicodeEncodeError)
    assert not any(isinstance(errors[index], BaseException) for index in (0, 2))
    assert [document["_id"] async for document in collection.find().sort("_id")] == [0, 2]


async def test_very_many_documents_are_found_in_one_answer(collection: Any, commands: Commands) -> None:
    await collection.insert_many([{"_id": number, "name": number} for number in range(300)])
    found = await by_id(collection, {"name": True}).get_many(range(-5, 300))
    assert found == {number: {"_id": number, "name": number} for number in range(300)}
    assert "getMore" not in commands.names
