"""The part "tweets": tweet-service against a baseline of its framework and driver, and against Django.

One process of tweet-service runs against one of the baseline, and one process per core, which share the connections,
against the peer with its usual number of workers. All use one MongoDB, and requests don't pass the gateway.
"""

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import psutil
import pymongo
from pymongo.database import Database

from benchmarks.environment import print_progress, running_stack
from benchmarks.load import LoadGenerator, Request
from benchmarks.machine import versions
from benchmarks.measurement import Measurement, MeasurementError, Options
from benchmarks.peers import django_server
from benchmarks.report import Comparison, Report
from benchmarks.rounds import Step, in_rounds
from benchmarks.server import Server, serving
from benchmarks.subject import Subject, account_name, json_of
from embedded_stack import Stack
from tweet_service.follows.repository import COLLECTION as FOLLOWS
from tweet_service.profiles.repository import COLLECTION as USERS
from tweet_service.tweets.repository import COLLECTION as TWEETS
from tweet_service.tweets.repository import COUNTS_COLLECTION as COUNTS
from tweet_service.tweets.service import new_tweet

CONNECTIONS = 16
AUTHORS = 50
FOLLOWED = 20
TWEETS_STORED = 5000
# Tweets that are read by id. More would enlarge the files of requests without slowing down responses.
TWEETS_READ = 1000
SIGNED_IN = 2 * CONNECTIONS
_AGE = timedelta(days=30)
_WARM_UP_SECONDS = 1.0
_REGISTRATION_SECONDS = 30
# All requests share one address and a few accounts, so the limits are raised beyond reach.
_NO_LIMITS = {"TWEET_READS_PER_MINUTE": "1000000000", "TWEET_WRITES_PER_MINUTE": "1000000000"}

PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "motor", "pymongo")
PEER_PACKAGES = ("Django", "djangorestframework", "djangorestframework-simplejwt", "PyJWT", "pymongo", "gunicorn")

READ, READ_AS, TIMELINE, CREATE = "tweet", "tweet, token", "timeline", "new tweet"
TANDEM, TANDEMS, BASELINE, DJANGO = "tandem", "tandems", "baseline", "django"
CASES = (READ, READ_AS, TIMELINE, CREATE)
PROCESSES = os.cpu_count() or 1

COMPARISONS = tuple(
    Comparison(f"{case}: {title}", (case, measured), (case, reference), aim)
    for measured, reference, title, aim in (
        (TANDEM, BASELINE, "tweet-service / bare Starlette", "0.70 or more"),
        (TANDEM, DJANGO, "one tweet-service / Django", ""),
        (TANDEMS, DJANGO, f"{PROCESSES} tweet-services / Django", "3 or more"),
    )
    for case in CASES
)

Documents = Database[dict[str, Any]]


def measure(options: Options) -> Report:
    """Start the subjects, measure them, stop them. Raises `MeasurementError` or `StackError`."""
    with ExitStack() as running:
        stack = running.enter_context(running_stack("auth", "mongo"))
        # Django and the baseline join the users to the tweets, which MongoDB does in one database only.
        users_database = {"TWEET_USERS_DATABASE": "tweets"}
        stack.components["tweet"].environment.base.update({**_NO_LIMITS, **users_database})
        stack.start("tweet")
        documents = running.enter_context(_database(stack))
        auth = Subject(
            *(TANDEM, Server(stack.addresses["AUTH_URL"], _process(stack, "auth")), secrets.token_urlsafe(12)),
            *("login", "access_token", "refresh_token"),
        )
        print_progress(f"{AUTHORS} accounts, {TWEETS_STORED} tweets …")
        users = _register(auth)
        read = _store(documents, users)
        probe = f"/v1/tweets/{read[0]}"
        first = Server(stack.addresses["TWEET_URL"], _process(stack, "tweet"))
        others = [running.enter_context(_one_more(stack, number, probe)) for number in range(2, PROCESSES + 1)]
        servers = {
            TANDEM: [first],
            TANDEMS: [first, *others],
            BASELINE: [running.enter_context(_baseline(stack, probe))],
            DJANGO: [running.enter_context(_django(stack, probe))],
        }
        wrk = LoadGenerator.find(stack.configuration.cache, stack.configuration.state)
        bench = Bench(servers, auth, users, read, documents, wrk)
        bench.warm_up()
        return Report(
            part="tweets",
            settings={
                "seconds": options.seconds,
                "rounds": options.rounds,
                "connections": CONNECTIONS,
                "tweets": TWEETS_STORED,
                "authors": AUTHORS,
                "tandem_processes": 1,
                "tandems_processes": PROCESSES,
                "baseline_processes": 1,
                "django_workers": django_server.WORKERS,
            },
            versions={
                "tandem": versions(PACKAGES, Path(sys.prefix)),
                "django": versions(PEER_PACKAGES, django_server.ENVIRONMENT),
                "tools": {"wrk": wrk.version(), "mongodb": str(documents.client.server_info()["version"])},
            },
            samples=in_rounds(options, bench.steps(options.seconds)),
            comparisons=COMPARISONS,
        )


@dataclass(frozen=True)
class Bench:
    """`users`: ids of the accounts, in order; `read`: ids of the tweets to read."""

    servers: dict[str, list[Server]]
    auth: Subject
    users: Sequence[str]
    read: Sequence[str]
    documents: Documents
    wrk: LoadGenerator

    def warm_up(self) -> None:
        """Run every case once, briefly. Raises `MeasurementError` if a request fails."""
        print_progress("warming up …")
        for steps in self.steps(_WARM_UP_SECONDS):
            for (case, name), step in steps:
                warmth = step()
                if warmth.errors:
                    raise MeasurementError(f"{case} of {name}: {warmth.complaint}")

    def steps(self, seconds: float) -> list[list[Step]]:
        return [[((case, name), self._step(case, name, seconds)) for name in self.servers] for case in CASES]

    def _step(self, case: str, name: str, seconds: float) -> "_Load":
        return _Load(self, case, name, seconds)

    def bearers(self, name: str) -> Sequence[str]:
        """Return new tokens of some users. The baseline takes user ids as tokens."""
        if name == BASELINE:
            return self.users[:SIGNED_IN]
        return [tokens[self.auth.access_field] for tokens in self.auth.sign_in(SIGNED_IN)]


@dataclass(frozen=True)
class _Load:
    bench: Bench
    case: str
    name: str
    seconds: float

    def __call__(self) -> Measurement:
        servers, began = self.bench.servers[self.name], datetime.now(UTC)
        measurement = self.bench.wrk.run(servers, self._requests(), seconds=self.seconds, connections=CONNECTIONS)
        if self.case == CREATE:
            # The next subject finds the same data.
            self.bench.documents[TWEETS].delete_many({"created_at": {"$gte": began - timedelta(milliseconds=1)}})
        return measurement

    def _requests(self) -> list[Request]:
        if self.case == READ:
            return [Request("GET", f"/v1/tweets/{tweet_id}") for tweet_id in self.bench.read]
        bearers = self.bench.bearers(self.name)
        if self.case == READ_AS:
            each = zip(self.bench.read, cycle(bearers), strict=False)
            return [Request("GET", f"/v1/tweets/{tweet_id}", bearer=bearer) for tweet_id, bearer in each]
        if self.case == TIMELINE:
            return [Request("GET", "/v1/timeline", bearer=bearer) for bearer in bearers]
        return [
            Request("POST", "/v1/tweets", body={"text": _text(number)}, bearer=bearer)
            for number, bearer in enumerate(islice(cycle(bearers), len(self.bench.read)))
        ]


@contextmanager
def _database(stack: Stack) -> Iterator[Documents]:
    with pymongo.MongoClient[dict[str, Any]](stack.addresses["MONGODB_URL"], tz_aware=True) as client:
        yield client.get_default_database()


@contextmanager
def _one_more(stack: Stack, number: int, probe: str) -> Iterator[Server]:
    """Run another process of tweet-service, like the stack's own."""
    command = stack.components["tweet"].command()
    with serving(
        f"tweet-{number}",
        stack.configuration.state,
        lambda port: ["/usr/bin/env", f"PORT={port}", *command.argv],
        command.environment,
        probe,
    ) as server:
        yield server


@contextmanager
def _baseline(stack: Stack, probe: str) -> Iterator[Server]:
    # The options of service_kit.server.
    options = ("--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning")
    program = [str(Path(sys.executable).with_name("uvicorn")), *options, "benchmarks.baselines.tweets:app"]
    variables = {"PATH": os.environ["PATH"], "BASELINE_MONGODB_URL": stack.addresses["MONGODB_URL"]}
    with serving(
        *("baseline", stack.configuration.state, lambda port: [*program, "--port", str(port)]), variables, probe
    ) as server:
        yield server


@contextmanager
def _django(stack: Stack, probe: str) -> Iterator[Server]:
    if not django_server.ENVIRONMENT.exists():
        raise MeasurementError(
            f"{django_server.ENVIRONMENT.name}, the environment of the peers, does not exist; `make bench` creates it."
        )
    quiet = ("--access-logfile", "-", "--no-control-socket")
    options = ("--workers", str(django_server.WORKERS), *quiet, "django.core.wsgi:get_wsgi_application()")
    program = [str(django_server.ENVIRONMENT / "bin" / "gunicorn"), *options]
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_tweets.settings",
        "PEER_SECRET_KEY": secrets.token_urlsafe(48),
        "PEER_MONGODB_URL": stack.addresses["MONGODB_URL"],
        "PEER_JWKS_URL": f"{stack.addresses['AUTH_URL']}/.well-known/jwks.json",
        "PEER_ISSUER": f"{stack.addresses['GATEWAY_URL']}/api/auth",
        "PEER_AUDIENCE": "tandem",
    }
    with serving(
        *("django", stack.configuration.state, lambda port: [*program, "--bind", f"127.0.0.1:{port}"]),
        variables,
        probe,
    ) as server:
        yield server


def _process(stack: Stack, name: str) -> psutil.Process:
    running = stack.processes[name].running()
    if running is None:
        raise MeasurementError(f"{name}-service has exited.")
    return running


def _register(auth: Subject) -> list[str]:
    """Register accounts at auth-service. Return their ids."""
    with httpx.Client(base_url=auth.server.url, timeout=_REGISTRATION_SECONDS) as client:

        def register(number: int) -> str:
            username = account_name(number)
            person = {"username": username, "name": "Bench Mark", "email": f"{username}@example.com"}
            passwords = {"password": auth.password, "password_confirm": auth.password}
            answer: dict[str, Any] = dict(json_of(client.post("/v1/register", json={**person, **passwords})))
            return str(answer["user"]["id"])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(register, range(AUTHORS)))


def _store(documents: Documents, users: Sequence[str]) -> list[str]:
    """Write users as sync-service copies them, their follows and tweets. Return ids of tweets to read."""
    began = datetime.now(UTC) - _AGE
    live = {"operation": "c", "deleted_at": None}
    documents[USERS].insert_many(
        {
            "_id": user_id,
            "username": account_name(number),
            "name": "Bench Mark",
            "is_active": True,
            "tokens_valid_after": None,
            "created_at": began,
            "_sync": live,
        }
        for number, user_id in enumerate(users)
    )
    documents[FOLLOWS].insert_many(
        {"_id": {"follower_id": user_id, "followee_id": users[(number + away) % AUTHORS]}, "created_at": began}
        for number, user_id in enumerate(users)
        for away in range(1, FOLLOWED + 1)
    )
    tweets = [dict(new_tweet(users[number % AUTHORS], _text(number))) for number in range(TWEETS_STORED)]
    for number, tweet in enumerate(tweets):
        tweet["created_at"] = began + number * (_AGE / (2 * TWEETS_STORED))
    documents[TWEETS].insert_many(tweets)
    # Every other tweet has counts.
    documents[COUNTS].insert_many(
        {"_id": tweet["_id"], "likes": 3, "reposts": 1, "replies": 2} for tweet in tweets[::2]
    )
    step = TWEETS_STORED // TWEETS_READ
    # Tweets of all authors, with and without counts.
    return [str(tweet["_id"]) for tweet in tweets[:: step - 1][:TWEETS_READ]]


def _text(number: int) -> str:
    return f"Number {number} says hello to @{account_name(number % AUTHORS)}: #tandem at https://example.org/{number}"
