"""The privileges of infra/mongo/accounts.js suffice to move a copy and to read it, on a MongoDB with accounts."""

import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import playwright
import pymongo
import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.moved_copy import STATES, MovedCopy
from service_kit.mysql import create_engine, migrate
from support.polling import eventually
from sync_service.kafka.gaps import Gaps
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.sinks.base import RouteRefused
from sync_service.sinks.mongodb.moving import Move, Mover, mongo_sink
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.mongodb.source_watch import MongodbWatch
from sync_service.sinks.mysql.schema import migrations_folder
from sync_service.source_watch.states import SourceStates
from sync_service.source_watch.watch import FoundGaps, SourceWatch

if TYPE_CHECKING:
    Client = pymongo.MongoClient[dict[str, Any]]

REPOSITORY = Path(__file__).parents[2]
PHRASE = "phrase"

# What accounts.js uses of mongosh, which the embedded stack lacks: it collects the commands.
SHELL = """
const commands = [], known = JSON.parse(process.env.KNOWN);
const has = (kind, database, name) => known[kind].includes(`${database}.${name}`);
globalThis.db = {getSiblingDB: (database) => {
  const call = (command) => (name, rest) => commands.push([database, {[command]: name, ...rest}]);
  return {
    hello: () => ({setName: "rs0", isWritablePrimary: true}),
    getRole: (name) => has("roles", database, name),
    getUser: (name) => has("users", database, name),
    createRole: ({role, ...rest}) => call("createRole")(role, rest),
    createUser: ({user, ...rest}) => call("createUser")(user, rest),
    updateRole: call("updateRole"), updateUser: call("updateUser"), dropRole: call("dropRole"),
    grantRolesToUser: (name, roles) => call("grantRolesToUser")(name, {roles}),
  };
}};
process.on("exit", () => console.log(JSON.stringify(commands)));
"""


def run_accounts(root: "Client", phrase: str = PHRASE) -> list[str]:
    """The names of the commands. Raises `CalledProcessError`."""
    known = {
        "roles": [each["_id"] for each in root["admin"]["system.roles"].find()],
        "users": [each["_id"] for each in root["admin"]["system.users"].find()],
    }
    passwords = {f"MONGO_{name}_PASSWORD": phrase for name in ("TWEET", "SYNC", "DEBEZIUM")}
    program = SHELL + (REPOSITORY / "infra/mongo/accounts.js").read_text()
    node = Path(playwright.__file__).parent / "driver" / "node"
    ended = subprocess.run(
        [node, "-e", program],
        env={**passwords, "KNOWN": json.dumps(known), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        text=True,
    )
    commands: list[tuple[str, dict[str, Any]]] = json.loads(ended.stdout)
    for database, command in commands:
        root[database].command(command)
    return [next(iter(command)) for _, command in commands]


def accounts_of_the_earlier_release(root: "Client") -> None:
    """As accounts.js of release 0.1.0 made them, with the roles in `tweets`."""

    def grant(name: str, privileges: dict[str, list[str]]) -> None:
        each = [
            {"resource": {"db": "tweets", "collection": collection}, "actions": actions}
            for collection, actions in privileges.items()
        ]
        root["tweets"].command("createRole", f"{name}_role", privileges=each, roles=[])
        root["tweets"].command("createUser", name, pwd=PHRASE, roles=[{"role": f"{name}_role", "db": "tweets"}])

    read, write = ["find", "listIndexes", "collStats"], ["insert", "update", "remove"]
    everything = [*read, *write, "createCollection", "createIndex", "collMod", "dropIndex"]
    grant("tweet_service", {"": [*read, "listCollections", "changeStream"]})
    copies = {"users": everything, "users_copy": everything}
    grant("sync_service", {"": ["listCollections"], **copies, "system.views": ["find"]})
    grant("debezium", {"": [*read, "listCollections", "changeStream"]})


@pytest.fixture
async def engine(mysql_root_url: str) -> AsyncIterator[AsyncEngine]:
    """A schema of sync-service's own tables."""
    name, root = f"accounts_{secrets.token_hex(4)}", create_engine(mysql_root_url)
    async with root.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await migrate(mysql_root_url + name, migrations_folder())
    engine = create_engine(mysql_root_url + name)
    yield engine
    await engine.dispose()
    async with root.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))
    await root.dispose()


@pytest.fixture
def states(engine: AsyncEngine) -> SourceStates:
    return SourceStates(engine)


@pytest.fixture
def gaps(engine: AsyncEngine) -> Gaps:
    return Gaps(engine)


@pytest.fixture
def users() -> Route:
    (route,) = (each for each in load_routes(default_routes_file()) if each.name == "users")
    return route


async def test_accounts_are_updated_while_the_services_run_and_the_copy_moves(
    address: str, root: "Client", users: Route
) -> None:
    accounts_of_the_earlier_release(root)

    def client_of(name: str) -> "AsyncIOMotorClient[dict[str, Any]]":
        return AsyncIOMotorClient(f"mongodb://{name}:{PHRASE}@{address}/tweets?replicaSet=rs0", tz_aware=True)

    sync, tweet = client_of("sync_service"), client_of("tweet_service")
    old, new = sync["tweets"], sync["auth"]
    at_first = users.model_copy(update={"target": users.target.model_copy(update={"database": None})})
    await MongoSink(old, at_first).prepare()
    await old["users_copy"].insert_many([{"_id": f"u{number}", "_sync": {"offset": "1"}} for number in range(10)])
    copy = MovedCopy(tweet["tweets"]["users_copy"], tweet["auth"]["users_copy"])

    async def read(user_id: str) -> Any:
        return await copy.read(lambda place: place.find_one({"_id": user_id}), is_whole=lambda found: found is not None)

    # Both services are of this release, the accounts are not yet.
    assert await read("u1")
    assert await read("absent") is None
    sink = mongo_sink(sync, users)
    with pytest.raises(RouteRefused, match="not authorized on auth"):
        await sink.prepare()

    # As docs/adding-a-route.md grants it.
    root["tweets"].command("grantRolesToUser", "debezium", roles=[{"role": "read", "db": "shop"}])
    assert run_accounts(root)[:5] == ["createRole", "updateUser", "grantRolesToUser", "dropRole", "createRole"]
    await sink.prepare()
    move = Move.of(sync, users)
    assert move is not None

    async def is_upgraded() -> bool:
        return True

    await Mover(move, is_upgraded, quiet_seconds=0.2, stop_writing_seconds=0).run()
    assert root["tweets"].list_collection_names(filter={"name": {"$regex": "^users"}}) == []
    assert await new["users_copy"].count_documents({}) == 10
    assert await read("u1")
    assert await new["users"].count_documents({}) == 10

    # The rights of each account end there.
    with pytest.raises(OperationFailure, match="not authorized"):
        await tweet["auth"]["users_copy"].insert_one({"_id": "u11"})
    with pytest.raises(OperationFailure, match="not authorized"):
        await tweet["auth"][STATES].delete_one({})
    with pytest.raises(OperationFailure, match="not authorized"):
        await sync["tweets"]["tweets"].insert_one({"_id": 1})

    # It may run at every start.
    assert set(run_accounts(root)) == {"updateRole", "updateUser", "grantRolesToUser"}
    (debezium,) = root["tweets"].command("usersInfo", "debezium")["users"]
    assert sorted((each["role"], each["db"]) for each in debezium["roles"]) == [
        ("debezium_role", "admin"),
        ("read", "shop"),
    ]
    assert await read("u2")
    sync.close()
    tweet.close()


async def test_database_that_an_account_may_not_watch_is_named_and_others_are_watched(
    address: str, root: "Client", states: SourceStates, gaps: Gaps, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"watched_{secrets.token_hex(4)}"
    denied, allowed = f"{own}_denied", f"{own}_allowed"
    only_reads = {"resource": {"db": denied, "collection": ""}, "actions": ["find"]}
    root["admin"].command("createRole", own, privileges=[only_reads], roles=[])
    roles = [{"role": own, "db": "admin"}, {"role": "read", "db": allowed}]
    root["admin"].command("createUser", own, pwd=PHRASE, roles=roles)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        f"mongodb://{own}:{PHRASE}@{address}/?replicaSet=rs0"
    )
    routes = [
        Route.model_validate(
            {
                "name": database,
                "topic": f"cdc.{database}.things",
                "target": {"store": "mysql", "table": database},
                "key": {"id": {"from": "_id", "type": "integer"}},
                "fields": {"v": "integer"},
            }
        )
        for database in (denied, allowed)
    ]
    for database in (denied, allowed):
        root[database]["things"].insert_one({"_id": 1})
    watch = SourceWatch([MongodbWatch(routes, client, FoundGaps(routes, states, gaps))])

    async def doubts() -> list[str]:
        await watch.check()
        await gaps.refresh()
        return [route.name for route in routes if gaps.of(route.topic)]

    assert await doubts() == []
    assert (await states.load_all("database")).keys() == {allowed}
    for database in (denied, allowed):
        root[database]["things"].drop()
    await eventually(doubts, [allowed].__eq__)
    lines = [line for line in capsys.readouterr().out.splitlines() if "can't be watched" in line]
    assert len(lines) == 1, "it is logged once"
    reason = f"this account may not watch the database {denied}: grant it the role read on it"
    assert reason in lines[0].replace("\\", "")

    # Once it may, its later changes are found.
    root["admin"].command("grantRolesToUser", own, roles=[{"role": "read", "db": denied}])

    async def watched() -> int:
        await watch.check()
        return len(await states.load_all("database"))

    await eventually(watched, (2).__eq__)
    root[denied]["things"].insert_one({"_id": 1})
    root[denied]["things"].drop()
    await eventually(doubts, [denied, allowed].__eq__)
    await watch.close()
    client.close()
    for database in (denied, allowed):
        root.drop_database(database)


async def test_account_of_sync_service_may_watch_the_sources(
    address: str, root: "Client", states: SourceStates, gaps: Gaps
) -> None:
    run_accounts(root)
    routes = load_routes(default_routes_file())
    url = f"mongodb://sync_service:{PHRASE}@{address}/tweets?replicaSet=rs0"
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url)
    watch = MongodbWatch(routes, client, FoundGaps(routes, states, gaps))
    assert watch.checks.keys() == {"MongoDB's database tweets"}
    for check in watch.checks.values():
        await check()
    assert (await states.load_all("database")).keys() == {"tweets"}
    await watch.close()
    client.close()


def test_password_that_no_url_can_have_is_refused(root: "Client") -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        run_accounts(root, phrase="p@ss")
    assert "the password of tweet_service may contain letters" in error.value.stderr
