"""A dropped route leaves the file, its copy and its state in MySQL; a running service must not create it again."""

import re
import secrets
import signal
from pathlib import Path

import pytest
import yaml
from motor.motor_asyncio import AsyncIOMotorDatabase
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.change_events import user_event
from support.commands import run_command
from support.polling import eventually
from support.sync_process import SyncProcess, tweet_event
from sync_service.kafka.gaps import Gap, Gaps
from sync_service.kafka.pauses import processes
from sync_service.kafka.stops import Stops
from sync_service.routes.drop import NotDropped, NotFinished, RouteDropper, RoutesText
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.sinks.mysql.schema import change_tables, drop_table
from sync_service.source_watch.states import SourceStates

COMMENT = "# A comment that stays.\n"


@pytest.fixture
def file(sync: SyncProcess) -> Path:
    """The routes file. Its copy in MySQL is a table of this test's own."""
    sync.routes[sync.tweets]["target"]["table"] = f"t_{secrets.token_hex(4)}"
    sync.write_routes()
    file = Path(sync.variables["SYNC_ROUTES_FILE"])
    file.write_text(f"{COMMENT}\n{file.read_text()}")
    return file


async def tables(engine: AsyncEngine, name: str) -> set[str]:
    async with engine.connect() as connection:
        query = text("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
        return {each for each in (await connection.execute(query)).scalars() if each.startswith(name)}


async def kept_about(engine: AsyncEngine, topic: str) -> set[str]:
    """The tables of the sync that know the topic."""
    async with engine.connect() as connection:
        return {
            table
            for table in ("sync_stops", "sync_skips", "sync_gaps", "sync_held_pauses", "sync_erased")
            if await connection.scalar(text(f"SELECT 1 FROM {table} WHERE topic = :topic LIMIT 1"), {"topic": topic})  # noqa: S608 - names of this test
        }


async def test_route_is_dropped_with_its_table_and_what_is_kept_about_it(
    sync: SyncProcess, engine: AsyncEngine, file: Path
) -> None:
    name, topic = sync.routes[sync.tweets]["target"]["table"], sync.topic(sync.tweets)
    await sync.send(sync.tweets, tweet_event(1, text="copied"))
    async with sync.running():

        async def rows() -> int:
            async with engine.connect() as connection:
                return int(await connection.scalar(text(f"SELECT COUNT(*) FROM {name}")) or 0)  # noqa: S608 - a name of this test

        await eventually(rows)
        code, output, errors = await sync.command("routes", "drop", sync.tweets, "--yes")
        assert (code, output) == (1, "")
        assert errors == (
            f"error: sync-service is running and applies the events of {sync.tweets}: pause the route first "
            f"(`sync-service routes pause {sync.tweets}`)\n"
        )
        assert (await sync.command("routes", "pause", sync.tweets, "--timeout", "60"))[0] == 0
    await Gaps(engine).record([Gap(topic, "id", 0, 0, 5, "a test")])
    table = ".".join(topic.split(".")[-2:])
    states = [("column", f"{table}.text", "int"), ("column", f"{table}_2.text", "int")]
    await SourceStates(engine).store_all(states)
    assert await kept_about(engine, topic) == {"sync_stops", "sync_gaps", "sync_held_pauses"}
    before = content(file)

    code, output, errors = await sync.command("routes", "drop", sync.tweets)
    assert (code, output) == (2, "")
    assert errors.endswith("which is dropped: confirm it with --yes\n")
    assert content(file) == before
    code, output, errors = await sync.command("routes", "drop", "nowhere", "--yes")
    assert (code, output, errors) == (1, "", "error: there is no route nowhere, and nothing is left of one\n")

    code, output, errors = await sync.command("routes", "drop", sync.tweets, "--yes")
    assert (code, errors) == (0, "")
    assert f"The topic {topic} stays, and so does its pause" in output
    assert await tables(engine, name) == set()
    assert await kept_about(engine, topic) == {"sync_stops", "sync_held_pauses"}
    assert content(file).startswith(COMMENT)
    assert [route.name for route in load_routes(file)] == [sync.users]
    columns = await SourceStates(engine).load_all("column")
    assert [place for _, place, _ in states if place in columns] == [f"{table}_2.text"]

    again = await sync.command("routes", "drop", sync.tweets, "--yes")
    assert again == (0, f"{sync.tweets} was dropped; nothing is left of it\n", "")
    assert await kept_about(engine, topic) == set()
    code, output, errors = await sync.command("routes", "drop", sync.tweets, "--yes")
    assert (code, errors) == (1, f"error: there is no route {sync.tweets}, and nothing is left of one\n")


async def test_types_of_columns_stay_while_another_route_reads_their_table(engine: AsyncEngine) -> None:
    name = f"r_{secrets.token_hex(4)}"
    topic, stops, states = f"one.{name}.things", Stops(engine), SourceStates(engine)
    await states.store_all([("column", f"{name}.things.size", "int")])
    for topics_of_others, stays in (([f"two.{name}.things"], True), ([], False)):
        assert await stops.note_drop(await stops.pause(topic, "ada"), name)
        assert await RouteDropper(engine, stops).finish(name, topics_of_others) == [topic]
        assert (f"{name}.things.size" in await states.load_all("column")) == stays


async def test_processes_that_still_have_a_dropped_route_do_not_create_its_copy(
    sync: SyncProcess, engine: AsyncEngine, file: Path
) -> None:
    name, topic = sync.routes[sync.tweets]["target"]["table"], sync.topic(sync.tweets)
    own_file = file.with_name("former.yaml")
    write(own_file, content(file))
    async with sync.running(SYNC_ROUTES_FILE=str(own_file)) as replica:
        await eventually(lambda: tables(engine, name))
        assert (await sync.command("routes", "pause", sync.tweets, "--timeout", "60"))[0] == 0
        code, _, errors = await sync.command("routes", "drop", sync.tweets, "--yes")
        assert (code, errors) == (0, "")
        assert [route.name for route in load_routes(file)] == [sync.users]

        # It has the former file.
        await replica.end(signal.SIGTERM)
        await replica.start()
        await sync.send(sync.tweets, tweet_event(1, text="one"))

        async def has_topic() -> list[bool]:
            return [topic in each.topics for each in await processes(engine)]

        await eventually(has_topic, any)
        code, output, errors = await sync.command("routes", "drop", sync.tweets, "--yes")
        assert (code, output) == (1, ""), errors
        assert f"the pause of its topic {topic} stays until these processes have taken over" in errors
        assert await tables(engine, name) == set()
    assert (await sync.command("routes", "drop", sync.tweets, "--yes"))[0] == 0
    assert await kept_about(engine, topic) == set()


async def test_neither_a_retry_nor_a_repair_creates_the_copy_of_a_dropped_route_again(
    sync: SyncProcess, engine: AsyncEngine, file: Path
) -> None:
    """A process may still have it, and a command may have read the former file."""
    stops = Stops(engine)
    await sync.send(sync.tweets, (tweet_event(1)[0], b"{not json"))
    async with sync.running() as replica:

        async def letters() -> list[str]:
            answer = await replica.client.get("/v1/dead-letters", params={"route": sync.tweets})
            return [each["id"] for each in answer.json()["items"]]

        (letter,) = await eventually(letters)
        assert await stops.note_drop(await stops.pause(sync.topic(sync.tweets), "ada"), sync.tweets)
        reason = f"the route {sync.tweets} was dropped"
        answer = (await replica.client.post(f"/v1/dead-letters/{letter}/retry")).json()
        assert (answer["outcome"], answer["reason"]) == ("rejected", reason)
        code, output, _ = await sync.command("dead-letters", "retry", letter)
        assert (code, output) == (1, f"{letter}  rejected: {reason}\n")
        for repair in (("reconcile", "--route", sync.tweets, "--repair"), ("routes", "backfill", sync.tweets)):
            code, _, errors = await sync.command(*repair)
            assert (code, errors.splitlines()[-1]) == (2, f"error: {reason}")


@pytest.mark.parametrize("done", ["nothing", "the copy", "the file"])
async def test_drop_that_was_killed_is_repeated(
    sync: SyncProcess, engine: AsyncEngine, file: Path, schema_url: str, done: str
) -> None:
    name, topic = sync.routes[sync.tweets]["target"]["table"], sync.topic(sync.tweets)
    route = next(each for each in load_routes(file) if each.name == sync.tweets)
    await change_tables(schema_url, [route], apply=True)
    stops = Stops(engine)
    pause = await stops.pause(topic, "ada")
    assert await stops.note_drop(pause, sync.tweets)
    if done != "nothing":
        await drop_table(schema_url, route)
    if done == "the file":
        RoutesText.of(file, sync.tweets, may_write=True).remove()
    code, _, errors = await sync.command("routes", "drop", sync.tweets, "--yes")
    assert (code, errors) == (0, "")
    await sync.command("routes", "drop", sync.tweets, "--yes")
    assert await tables(engine, name) == set()
    assert await kept_about(engine, topic) == set()
    assert [route.name for route in load_routes(file)] == [sync.users]


async def test_file_that_was_changed_meanwhile_is_not_overwritten(sync: SyncProcess, file: Path) -> None:
    read = RoutesText.of(file, sync.tweets, may_write=True)
    write(file, f"{content(file)}# another change\n")
    changed = content(file)
    with pytest.raises(NotFinished, match="was changed meanwhile"):
        read.remove()
    assert content(file) == changed
    RoutesText.of(file, sync.tweets, may_write=True).remove()
    assert content(file).endswith("# another change\n")
    assert [route.name for route in load_routes(file)] == [sync.users]


async def test_route_is_dropped_with_its_collection(
    sync: SyncProcess, database: "AsyncIOMotorDatabase[dict[str, object]]", file: Path
) -> None:
    target = sync.routes[sync.users]["target"]
    target.pop("database", None)
    target["collection"] = name = f"c_{secrets.token_hex(4)}"
    sync.write_routes()
    await sync.send(sync.users, user_event({"id": "u1", "username": "ada"}))
    async with sync.running():
        await eventually(lambda: database[name].find_one({}))
    # A broken connection to the copy changes nothing.
    before = content(file)
    code, _, errors = await sync.command("routes", "drop", sync.users, "--yes", MONGODB_URL="")
    assert (code, errors.count("\n")) == (1, 1)
    assert content(file) == before

    assert (await sync.command("routes", "drop", sync.users, "--yes"))[0] == 0
    assert not {each for each in await database.list_collection_names() if each.startswith(name)}


async def test_copy_and_its_doubts_are_kept_on_request(sync: SyncProcess, engine: AsyncEngine, file: Path) -> None:
    name, topic = sync.routes[sync.tweets]["target"]["table"], sync.topic(sync.tweets)
    async with sync.running():
        assert (await sync.command("routes", "pause", sync.tweets, "--timeout", "60"))[0] == 0
    await Gaps(engine).record([Gap(topic, "id", 0, 0, 5, "a test")])
    code, _, errors = await sync.command("routes", "drop", sync.tweets, "--keep-copy", "--yes")
    assert (code, errors) == (0, "")
    assert await tables(engine, name) == {name, f"{name}_copy"}
    assert await kept_about(engine, topic) == {"sync_gaps", "sync_stops", "sync_held_pauses"}
    assert [route.name for route in load_routes(file)] == [sync.users]


@pytest.mark.integration
async def test_file_that_is_not_ours_is_named_with_the_lines_to_remove() -> None:
    """Without SYNC_ROUTES_FILE it is the packaged one."""
    lines = content(default_routes_file()).splitlines()
    code, output, errors = await run_command(
        *("sync-service", "routes", "drop", "likes", "--yes"),
        MYSQL_URL="mysql://a:b@127.0.0.1:1/tweets",
        MONGODB_URL="mongodb://127.0.0.1:1/tweets",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
    )
    assert (code, output) == (3, "")
    found = re.fullmatch(
        r"error: (.*) can't be changed here: remove lines (\d+) to (\d+) \(route likes\) yourself. Nothing is .*\n",
        errors,
    )
    assert found is not None
    first, last = int(found[2]), int(found[3])
    assert found[1] == str(default_routes_file())
    assert "likes:" in lines[first - 1 : last]
    assert yaml.safe_load("\n".join(lines[first - 1 : last])).keys() == {"likes"}


def test_file_without_its_only_route_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        "own: {topic: a.b.c, target: {store: mongodb, collection: own}, key: {_id: {from: id, type: string}}}\n"
    )
    with pytest.raises(NotDropped, match=f"the file would not be valid: {file}:1: no routes in it"):
        RoutesText.of(file, "own", may_write=True)


def content(file: Path) -> str:
    return file.read_text()


def write(file: Path, text: str) -> None:
    file.write_text(text)
