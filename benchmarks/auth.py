"""The part "auth": auth-service against the raw cost of its password hashes, and against Django.

wrk runs on the same cores and sends requests directly to the services, without the gateway. Each round measures every
case of every subject once. Every other round reverses the subjects of a case, so that drift affects all equally.
"""

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import argon2
import httpx
import psutil

from benchmarks.environment import mysql_version, print_progress, running_stack
from benchmarks.load import LoadGenerator
from benchmarks.machine import versions
from benchmarks.measurement import Measurement, MeasurementError, Options, Sample, repeat
from benchmarks.peers import django_server
from benchmarks.peers.django_server import DjangoServer, django_running
from benchmarks.report import Comparison, Report
from benchmarks.rounds import Step, in_rounds
from benchmarks.server import Server
from benchmarks.subject import Subject, account_name, json_of
from benchmarks.token_check import PublicJwk, signature_check, verifier_check
from embedded_stack import Stack

CORES = os.cpu_count() or 1
CONNECTIONS = 16
# Well below the limit of registrations per address.
ACCOUNTS = 64
# More tokens than connections, because each connection holds one.
SIGNED_IN = 2 * CONNECTIONS
_WARM_UP_SECONDS = 1.0
_TOKEN_CHECK_SECONDS = 1.0
_REGISTRATION_SECONDS = 30

# A load of refreshes exchanges the tokens of few sessions.
_NO_LIMITS = {"AUTH_REFRESHES_PER_SESSION": "1000000000"}

PACKAGES = (
    *("fastapi", "uvicorn", "uvloop", "httptools", "sqlalchemy", "asyncmy", "libpass"),
    *("argon2-cffi", "argon2-cffi-bindings", "python-jose", "cryptography"),
)

HASH, LOGIN, PROFILE, REFRESH, TOKEN_CHECK = "argon2id", "login", "users/me", "refresh", "token check"
RAW, TANDEM, DJANGO, SIMPLE_JWT, PYJWT = "raw", "tandem", "django", "SimpleJWT", "PyJWT"

COMPARISONS = (
    Comparison("logins / raw argon2id on the same cores", (LOGIN, TANDEM), (HASH, RAW), aim="0.85 or more"),
    Comparison("Django's logins / raw argon2id on the same cores", (LOGIN, DJANGO), (HASH, RAW)),
    Comparison("logins / Django's", (LOGIN, TANDEM), (LOGIN, DJANGO)),
    Comparison("users/me / Django's", (PROFILE, TANDEM), (PROFILE, DJANGO)),
    Comparison("refreshes / Django's", (REFRESH, TANDEM), (REFRESH, DJANGO)),
    Comparison("token checks / SimpleJWT's", (TOKEN_CHECK, TANDEM), (TOKEN_CHECK, SIMPLE_JWT)),
    Comparison("token checks / raw ECDSA verifications", (TOKEN_CHECK, TANDEM), (TOKEN_CHECK, RAW)),
)


def measure(options: Options) -> Report:
    """Start the subjects, measure them, stop them. Raises `MeasurementError` or `StackError`."""
    password = secrets.token_urlsafe(12)
    with ExitStack() as running:
        stack = running.enter_context(running_stack("mysql", "mail"))
        stack.components["auth"].environment.base.update(_NO_LIMITS)
        stack.start("auth")
        django = running.enter_context(django_running(stack))
        wrk = LoadGenerator.find(stack.configuration.cache, stack.configuration.state)
        tandem = Subject(
            *(TANDEM, Server(stack.addresses["AUTH_URL"], _process(stack)), password),
            *("login", "access_token", "refresh_token"),
        )
        peer = Subject(*(DJANGO, Server(django.url, django.process()), password), *("username", "access", "refresh"))
        print_progress(f"{ACCOUNTS} accounts on both sides …")
        _register(tandem)
        django.create_accounts(ACCOUNTS, password)
        bench = Bench(tandem, peer, django, wrk, options)
        bench.warm_up()
        return Report(
            part="auth",
            settings={
                "seconds": options.seconds,
                "rounds": options.rounds,
                "tries": options.tries,
                "connections": CONNECTIONS,
                "accounts": ACCOUNTS,
                "password_workers": CORES,
                "django_workers": django_server.WORKERS,
            },
            versions={
                "tandem": versions(PACKAGES, Path(sys.prefix)),
                "django": versions(django_server.PACKAGES, django_server.ENVIRONMENT),
                "tools": {"wrk": wrk.version(), "mysql": mysql_version(stack)},
            },
            samples=bench.run(),
            comparisons=COMPARISONS,
        )


@dataclass(frozen=True)
class Bench:
    """`django` is the process of the subject `peer`."""

    tandem: Subject
    peer: Subject
    django: DjangoServer
    wrk: LoadGenerator
    options: Options

    def warm_up(self) -> None:
        """Run every case once, briefly. Raises `MeasurementError` if a request fails."""
        print_progress("warming up …")
        for case in (LOGIN, PROFILE, REFRESH):
            for subject in (self.tandem, self.peer):
                warmth = self._load(case, subject, _WARM_UP_SECONDS)
                if warmth.errors:
                    raise MeasurementError(f"{case} of {subject.name}: {warmth.complaint}")

    def run(self) -> list[Sample]:
        return in_rounds(self.options, self._steps())

    def _steps(self) -> Sequence[Sequence[Step]]:
        """Compared cases are measured directly after each other."""
        return (
            [((HASH, RAW), self._hash), *self._both(LOGIN)],
            self._both(PROFILE),
            self._both(REFRESH),
            self._token_checks(),
        )

    def _both(self, case: str) -> list[Step]:
        seconds = self.options.seconds
        return [
            ((case, TANDEM), lambda: self._load(case, self.tandem, seconds)),
            ((case, DJANGO), lambda: self._load(case, self.peer, seconds)),
        ]

    def _load(self, case: str, subject: Subject, seconds: float) -> Measurement:
        if case == LOGIN:
            requests = [subject.login_request(account) for account in range(ACCOUNTS)]
        elif case == PROFILE:
            requests = [subject.profile_request(tokens) for tokens in subject.sign_in(SIGNED_IN)]
        else:
            requests = [subject.refresh_request(tokens) for tokens in subject.sign_in(SIGNED_IN)]
        return self.wrk.run(
            [subject.server],
            requests,
            seconds=seconds,
            connections=CONNECTIONS,
            successor=subject.refresh_field if case == REFRESH else None,
        )

    def _hash(self) -> Measurement:
        """Measure the hash rate of the cores: one thread per core verifies a password hash."""
        hasher = argon2.PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)
        password_hash = hasher.hash(self.tandem.password)
        return repeat(lambda: hasher.verify(password_hash, self.tandem.password), self.options.seconds, threads=CORES)

    def _token_checks(self) -> list[Step]:
        return [
            ((TOKEN_CHECK, RAW), lambda: self._check(signature_check)),
            ((TOKEN_CHECK, TANDEM), lambda: self._check(verifier_check)),
            ((TOKEN_CHECK, SIMPLE_JWT), lambda: self._peers_check(SIMPLE_JWT)),
            ((TOKEN_CHECK, PYJWT), lambda: self._peers_check(PYJWT)),
        ]

    def _check(self, check_of: Callable[[str, Sequence[PublicJwk]], Callable[[], object]]) -> Measurement:
        """Check a new token in this process, on one core."""
        key_set = httpx.get(f"{self.tandem.server.url}/.well-known/jwks.json").raise_for_status().json()["keys"]
        return repeat(check_of(self._token(self.tandem), key_set), _TOKEN_CHECK_SECONDS)

    def _peers_check(self, library: str) -> Measurement:
        return self.django.time_token_check(library, self._token(self.peer), _TOKEN_CHECK_SECONDS)

    def _token(self, subject: Subject) -> str:
        return subject.sign_in(1)[0][subject.access_field]


def _process(stack: Stack) -> psutil.Process:
    running = stack.processes["auth"].running()
    if running is None:
        raise MeasurementError("auth-service has exited.")
    return running


def _register(tandem: Subject) -> None:
    with httpx.Client(base_url=tandem.server.url, timeout=_REGISTRATION_SECONDS) as client:

        def register(number: int) -> None:
            username = account_name(number)
            person = {"username": username, "name": "Bench Mark", "email": f"{username}@example.com"}
            passwords = {"password": tandem.password, "password_confirm": tandem.password}
            json_of(client.post("/v1/register", json={**person, **passwords}))

        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(register, range(ACCOUNTS)))
