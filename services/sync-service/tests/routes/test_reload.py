"""A changed routes file comes into force while the service runs."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.built_in_routes import built_in_declarations
from support.change_events import user_event
from support.polling import eventually
from support.responses import problem
from support.sync_harness import SyncHarness, becomes, tweet_id
from support.sync_harness import tweet_event as harness_tweet
from support.sync_process import SyncProcess, tweet_event
from support.topics import create_topics
from sync_service.apply.processor import RouteProcessor
from sync_service.kafka.stops import Stop
from sync_service.main import create_app
from sync_service.routes import reload
from sync_service.routes.changes import RouteChanges
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, load_routes
from sync_service.routes.personal import MASK
from sync_service.routes.reload import RoutesReloader, version_of
from sync_service.runner import SyncRunner
from sync_service.settings import Settings
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mongodb.collection_changes import DatabaseStream

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]


@pytest.fixture
def added() -> str:
    """The name of a route that is added, and the end of its topic, which does not exist yet."""
    return f"added_{secrets.token_hex(4)}"


def body_of(added: str) -> dict[str, Any]:
    return {
        "topic": f"test.{added}",
        "target": {"store": "mongodb", "collection": added},
        "key": {"_id": {"from": "id", "type": "string"}},
        "fields": {"username": "string"},
    }


def content_of(file: Path) -> bytes:
    return file.read_bytes()


async def names_of(client: httpx.AsyncClient) -> list[str]:
    return [route["name"] for route in (await client.get("/v1/status")).json()["routes"]]


async def texts(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT text FROM tweets ORDER BY id"))).scalars())


async def applied(client: httpx.AsyncClient, route: str) -> int:
    routes = {each["name"]: each for each in (await client.get("/v1/status")).json()["routes"]}
    return int(routes[route]["applied"])


async def test_added_route_is_applied_and_a_removed_one_is_not_shown(
    sync: SyncProcess, engine: AsyncEngine, database: "Database", added: str
) -> None:
    async with sync.running() as replica:
        client = replica.client
        await sync.send(sync.tweets, tweet_event(1, text="before"))
        await eventually(lambda: applied(client, sync.tweets), lambda number: number == 1)
        async with client.stream("GET", "/v1/events", params={"seconds": 300}) as stream:
            seen = texts_of(stream)
            await sync.send(sync.tweets, tweet_event(2, text="in the stream"))
            assert await anext(seen) == "in the stream"

            sync.routes[added] = body_of(added)
            sync.write_routes()
            answer = await client.post("/v1/routes/reload")
            assert answer.status_code == 200, answer.text
            assert (answer.json()["added"], answer.json()["changed"], answer.json()["removed"]) == ([added], [], [])
            assert answer.json()["routes"] == await names_of(client)
            assert problem(await client.post("/v1/routes/reload", headers=sync.bearer("senior_manager"))) == (
                403,
                "forbidden",
            )
            # The registrar creates its topic later. The others continue, and count on.
            await sync.send(sync.tweets, tweet_event(3, text="after"))
            await eventually(lambda: texts(engine), lambda seen: seen == ["before", "in the stream", "after"])
            await eventually(lambda: applied(client, sync.tweets), lambda number: number == 3)
            await create_topics(sync.variables["KAFKA_BOOTSTRAP_SERVERS"], f"test.{added}", partitions=1)
            await sync.send(added, user_event({"id": "u1", "username": "ada"}))
            await eventually(lambda: database[added].find_one({"_id": "u1", "username": "ada"}))
            assert await anext(seen) == "after"

        del sync.routes[sync.users]
        sync.write_routes()
        answer = await client.post("/v1/routes/reload")
        assert answer.json()["removed"] == [sync.users]
        assert set(await names_of(client)) == {sync.tweets, added}
        assert f'"{sync.users}"' not in (await client.get("/metrics")).text
        assert {route["name"] for route in (await client.get("/v1/pipeline")).json()["routes"]} >= {sync.tweets, added}
        assert (await client.get("/readyz")).json()["status"] == "ready"
        again = (await client.post("/v1/routes/reload")).json()
        assert (again["added"], again["changed"], again["removed"]) == ([], [], [])
        assert replica.log.read_text().count('"event": "routes reloaded"') == 2


async def texts_of(stream: httpx.Response) -> AsyncIterator[str]:
    """The text of each tweet in the stream."""
    async for line in stream.aiter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))["after"]["text"]


async def test_wrong_file_is_refused_and_the_former_routes_stay(sync: SyncProcess, engine: AsyncEngine) -> None:
    async with sync.running() as replica:
        client = replica.client

        async def refused() -> Any:
            return (await client.get("/v1/status")).json()["refused_routes_version"]

        with sync.wrong_fields(sync.tweets, text="sting"):
            file = Path(sync.variables["SYNC_ROUTES_FILE"])
            lines = content_of(file).decode().splitlines()
            place = f"{file}:{lines.index('    text: sting') + 1}: route {sync.tweets}: fields.text.type: "
            answer = await client.post("/v1/routes/reload")
            assert problem(answer) == (409, "routes-refused")
            assert answer.json()["detail"].startswith(place)
            code, _, errors = await sync.command("routes", "reload", SYNC_URL=str(client.base_url))
            assert (code, errors.startswith(f"error: {place}")) == (1, True)
            assert await refused() == version_of(content_of(file))
            ready = (await client.get("/readyz")).json()
            assert ready["status"] == "ready"
            assert f"the changed routes are not in force: {place}" in ready["remarks"][0]
            assert place in replica.log.read_text()
            await sync.send(sync.tweets, tweet_event(1, text="as before"))
            await eventually(lambda: texts(engine), lambda seen: seen == ["as before"])
        # A corrected file needs no request.
        await eventually(refused, lambda version: version is None)
        assert (await client.get("/readyz")).json()["remarks"] == []


async def test_each_process_takes_a_changed_file_over_by_itself(
    sync: SyncProcess, engine: AsyncEngine, added: str
) -> None:
    async with sync.running() as first, sync.running() as second:
        sync.routes[added] = body_of(added)
        sync.write_routes()
        first.hang_up()
        for each in (first, second):
            code, output, errors = await sync.command("routes", "reload", SYNC_URL=str(each.client.base_url))
            assert (code, errors) == (0, "")
            assert output == f"{sync.variables['SYNC_ROUTES_FILE']}: 3 routes in force\n"
            assert added in await names_of(each.client)
        await sync.send(sync.tweets, *(tweet_event(number, text="x") for number in range(4)))
        await sync.send(sync.tweets, *(tweet_event(number, text="y") for number in range(4, 8)), partition=1)
        await eventually(lambda: texts(engine), lambda seen: len(seen) == 8)
    code, _, errors = await sync.command("routes", "reload", SYNC_URL=str(first.client.base_url))
    assert (code, errors.startswith("error: sync-service does not answer at http://127.0.0.1:")) == (1, True)


async def test_changed_mapping_is_that_of_later_events_only(harness: SyncHarness) -> None:
    """A stopped route is tried again with it."""
    runner = harness.start_sync()
    topic, users = harness.tweets_topic, runner.processors[harness.users_topic]
    await harness.send(topic, harness_tweet(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    tweets = harness.routes[1]
    declared = built_in_declarations()["tweets"]
    masked = {**declared["fields"], "text": {"type": "string", "mask": True}}
    changed = Route.model_validate({**declared, "name": tweets.name, "topic": topic, "fields": masked})
    assert await runner.replace_routes([harness.routes[0], changed]) == RouteChanges(changed=("tweets",))
    assert runner.processors[harness.users_topic] is users
    await harness.send(topic, harness_tweet(2, "two"), harness_tweet(3, "three"))
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "***", tweet_id(3): "***"})

    async def outcomes() -> dict[str, int]:
        return dict(runner.processors[topic].statistics.outcomes)

    await becomes(outcomes, {"applied": 2})


async def test_copy_of_a_route_that_was_removed_and_added_again_is_in_doubt(harness: SyncHarness) -> None:
    """Nothing captured the deletes of the time between."""
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, harness_tweet(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await harness.becomes_committed(harness.tweets_topic, 1)
    users, tweets = harness.routes
    await runner.replace_routes([users])
    assert runner.doubts is None
    await runner.replace_routes([users, tweets])

    async def doubts() -> str | None:
        return runner.doubts

    wanted = (
        "tweets is in doubt: the route was not in the routes file for some time: deletes of that time may be missing"
    )
    await becomes(doubts, wanted)
    await harness.send(harness.tweets_topic, harness_tweet(2, "two"))
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "two"})


async def test_changed_route_whose_store_did_not_answer_is_tried_again(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped one, too: the change may have ended its fault."""
    runner, topic = harness.start_sync(), harness.tweets_topic
    await eventually(lambda: is_ready(runner))
    runner.stops.note(Stop(topic, "not-prepared", "a test", datetime.now(UTC)))

    async def stops() -> int:
        return len(runner.stops.faults_of(topic))

    prepare, attempts = RouteProcessor.prepare, 0

    async def failing_once(processor: RouteProcessor) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise Unavailable("MySQL: a test")
        await prepare(processor)

    monkeypatch.setattr(RouteProcessor, "prepare", failing_once)
    users, tweets = harness.routes
    await runner.replace_routes([users, tweets.model_copy(update={"tombstones": "keep"})])
    await becomes(stops, 0)
    await harness.send(topic, harness_tweet(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})


async def test_routes_of_a_cancelled_request_are_those_of_the_change_feed(
    sync: SyncProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the feed masks follows the routes in force."""
    settings = Settings.model_validate({name.lower(): value for name, value in sync.variables.items()})
    app = create_app(settings, load_routes(settings.sync_routes_file))
    async with app.router.lifespan_context(app):
        runner, feed = app.state.runner, app.state.feed
        await eventually(lambda: is_ready(runner))
        sync.routes[sync.users]["fields"]["name"] = {"type": "string", "personal": True}
        sync.write_routes()
        reloading = asyncio.create_task(app.state.reloader.reload())
        stop = runner.member.stop

        def stop_and_cancel() -> None:
            stop()
            reloading.cancel()

        monkeypatch.setattr(runner.member, "stop", stop_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await reloading

        async def masked() -> Any:
            return feed._personal[sync.topic(sync.users)].row({"name": "Ada"})

        await eventually(masked, lambda row: row == {"name": MASK})


async def test_source_that_can_not_be_watched_is_a_remark(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(_: DatabaseStream) -> None:
        raise Unavailable("MongoDB: this account may not watch the database")

    monkeypatch.setattr(DatabaseStream, "read", unreadable)
    runner = harness.start_sync()

    async def unwatched() -> str:
        return runner.unwatched or ""

    await eventually(unwatched, lambda seen: "can't be watched: MongoDB: this account may not watch" in seen)


async def is_ready(runner: SyncRunner) -> bool:
    return runner.problem is None


async def test_replicas_with_different_files_apply_every_event(harness: SyncHarness, added: str) -> None:
    """One of them knows a topic that the other one does not, and the other one knows a mapping of its own."""
    first, second = harness.start_sync(), harness.start_sync()
    for runner in (first, second):
        await eventually(lambda: is_ready(runner))  # noqa: B023 - awaited here
    (route,) = [Route.model_validate({**body_of(added), "name": added})]
    await harness.create_topic(route.topic)
    await first.replace_routes([*harness.routes, route])
    await second.replace_routes(harness.routes[1:])

    async def shares() -> int:
        return len(first.member.workers) + len(second.member.workers)

    await becomes(shares, 9)
    for partition in range(3):
        await harness.send(harness.tweets_topic, harness_tweet(partition, "x"), partition=partition)
        for topic in (route.topic, harness.users_topic):
            await harness.send(topic, user_event({"id": f"u{partition}", "username": "ada"}), partition=partition)
        await eventually(lambda: harness.user(f"u{partition}"))  # noqa: B023 - awaited here
    await eventually(harness.tweets, lambda seen: len(seen) == 3)
    await becomes(lambda: harness.mongo[added].count_documents({}), 3)
    assert await harness.dead_letters() == []


async def test_routes_are_not_replaced_before_the_copies_are_prepared_and_after_the_end(harness: SyncHarness) -> None:
    runner = harness.start_sync(mysql_url=SecretStr("mysql://a:b@127.0.0.1:1/copies"))
    with pytest.raises(Unavailable, match="not prepared yet"):
        await runner.replace_routes(harness.routes[:1])
    await harness.stop_sync(runner)
    with pytest.raises(Unavailable):
        await runner.replace_routes(harness.routes[:1])


def test_changes_between_two_sets_of_routes(routes: dict[str, Route]) -> None:
    before = [routes["users"], routes["tweets"], routes["likes"]]
    after = [routes["tweets"].model_copy(update={"tombstones": "keep"}), routes["follows"], routes["users"]]
    assert RouteChanges.between(before, after) == RouteChanges(("follows",), ("tweets",), ("likes",))
    assert not RouteChanges.between(before, before[::-1])


def test_route_that_is_loaded_again_has_not_changed(file: Path, added: str) -> None:
    def load(**fields: Any) -> list[Route]:
        route = {**body_of(added), "where": "size(name) > 1", "fields": fields}
        write(file, yaml.safe_dump({added: route}).encode())
        return load_routes(file, SecretStr("a secret of many characters"))

    fields: dict[str, Any] = {
        "name": "string",
        "length": {"expr": "size(name)", "type": "integer"},
        "hashed": {"from": "name", "type": "string", "hash": True},
        "masked": {"from": "name", "type": "string", "mask": {"first": 2}},
        "price": {"type": "decimal", "precision": 9, "scale": 2, "default": "1.50"},
        "number": {"constant": 1},
    }
    before = load(**fields)
    # Compiled at the first use.
    assert before[0].source_paths
    assert before[0].read_paths
    assert not RouteChanges.between(before, load(**fields))
    for name, changed in (
        ("length", {"expr": "size(name) + 1", "type": "integer"}),
        ("masked", {"from": "name", "type": "string", "mask": {"first": 3}}),
        ("number", {"constant": True}),
    ):
        assert RouteChanges.between(before, load(**{**fields, name: changed})).changed == (added,), name


class Routes:
    """What a reloader has put in force."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.current = routes
        self.replaced = 0

    async def replace(self, routes: Sequence[Route]) -> RouteChanges:
        changes, self.current = RouteChanges.between(self.current, routes), routes
        self.replaced += bool(changes)
        return changes


@pytest.fixture
def file(tmp_path: Path, added: str) -> Path:
    file = tmp_path / "routes.yaml"
    file.write_text(yaml.safe_dump({added: body_of(added)}))
    return file


@pytest.fixture
def reloader_of(file: Path) -> Callable[[Routes], RoutesReloader]:
    settings = Settings.model_validate(
        {
            "mysql_url": "mysql://a:b@127.0.0.1:1/copies",
            "mongodb_url": "mongodb://127.0.0.1:1/copies",
            "kafka_bootstrap_servers": "127.0.0.1:1",
            "auth_jwks_url": "http://127.0.0.1:1/jwks.json",
            "sync_routes_file": file,
        }
    )
    return lambda routes: RoutesReloader(settings, routes.replace)


def write(file: Path, content: bytes | None) -> None:
    """None deletes it."""
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


async def look(reloader: RoutesReloader) -> None:
    await reloader._reload_if_changed()


async def test_file_that_is_being_written_is_not_taken_over(
    file: Path, added: str, reloader_of: Callable[[Routes], RoutesReloader]
) -> None:
    routes = Routes(load_routes(file))
    reloader = reloader_of(routes)
    await look(reloader)
    assert reloader.version is None
    await look(reloader)
    assert (reloader.version, routes.replaced) == (version_of(content_of(file)), 0)
    whole = yaml.safe_dump({name: body_of(name) for name in (added, f"{added}_2")})
    for part in (whole[:30], whole[: len(whole) // 2], whole):
        write(file, part.encode())
        await look(reloader)
        assert (reloader.problem, routes.replaced) == (None, 0)
    await look(reloader)
    assert (reloader.version, routes.replaced) == (version_of(whole.encode()), 1)


async def test_requested_look_does_not_wait_until_it_is_due(
    file: Path, added: str, reloader_of: Callable[[Routes], RoutesReloader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "WATCH_SECONDS", 3600)
    routes = Routes(load_routes(file))
    reloader = reloader_of(routes)

    async def version() -> str | None:
        return reloader.version

    running = asyncio.create_task(reloader.run())
    for names in ([added], [added, f"{added}_2"]):
        content = yaml.safe_dump({name: body_of(name) for name in names}).encode()
        write(file, content)
        reloader.request()
        await eventually(version, lambda seen: seen == version_of(content))  # noqa: B023 - awaited here
    assert routes.replaced == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_refused_file_is_reported_once_until_it_changes(
    file: Path, reloader_of: Callable[[Routes], RoutesReloader], monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = Routes(load_routes(file))
    reloader, right, parsed = reloader_of(routes), content_of(file), 0
    await reloader.reload()

    def counted(*arguments: Any) -> list[Route]:
        nonlocal parsed
        parsed += 1
        return parse_routes(*arguments)

    parse_routes = reload.parse_routes
    monkeypatch.setattr(reload, "parse_routes", counted)
    for wrong in (b"things: [", None):
        write(file, wrong)
        await look(reloader)
        with pytest.raises(InvalidRoutes):
            await look(reloader)
        await look(reloader)
        assert str(file) in str(reloader.problem)
    assert parsed == 1
    write(file, right)
    await look(reloader)
    await look(reloader)
    assert (reloader.problem, reloader.version, routes.replaced) == (None, version_of(right), 0)


async def test_file_whose_copies_would_be_in_a_source_is_refused(
    file: Path, added: str, reloader_of: Callable[[Routes], RoutesReloader]
) -> None:
    routes = Routes(load_routes(file))
    reloader = reloader_of(routes)
    write(file, yaml.safe_dump({added: {**body_of(added), "topic": "cdc.mysql.copies.things"}}).encode())
    await look(reloader)
    with pytest.raises(Exception, match="is the source of route"):
        await look(reloader)
    assert routes.replaced == 0
    assert "MYSQL_URL names the schema copies" in str(reloader.problem)
