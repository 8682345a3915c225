"""Neither the duration nor the content of a response reveals whether an account exists.

Samples of durations are taken in random order, so that other load on the machine affects all kinds alike. The measure
is the probability that the longer of two durations, one of each kind, is of the same kind (the Mann-Whitney statistic
U / nm): 0.5 is chance, 1.0 reveals every account. It depends on ranks only, so that a few delayed responses have little
effect, and noise moves it towards 0.5. With 40 samples of each kind, chance reaches 0.8 three times in a million.
"""

import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.repository import OutboxRepository
from auth_service.settings import Settings
from support.auth_app import DEFAULT_HASHING, NewForm, Register, RegisteredUser, client_of, running_app
from support.polling import eventually
from support.responses import bearer

SAMPLES = 40
MAX_SEPARABILITY = 0.8

Ask = Callable[[], Awaitable[httpx.Response]]
NO_LIMITS = dict.fromkeys(
    ("auth_login_attempts_per_account", "auth_mails_per_account", "auth_changes_per_account"), 1_000_000
)


@pytest.fixture
async def app_without_limits(settings: Settings) -> AsyncIterator[FastAPI]:
    async with running_app(settings, **NO_LIMITS, **DEFAULT_HASHING) as app:
        yield app


@pytest.fixture
async def discreet_app(settings: Settings) -> AsyncIterator[FastAPI]:
    async with running_app(settings, **NO_LIMITS, **DEFAULT_HASHING, auth_require_email_verification=True) as app:
        yield app


@pytest.fixture
async def client(app_without_limits: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Users are registered with it: a hash is verified with the parameters that it was made with."""
    async with client_of(app_without_limits) as client:
        yield client


async def mails_are_sent(app: FastAPI) -> None:
    """Work after a response must not delay the next one."""

    async def waiting() -> int:
        async with app.state.database.reading() as session:
            return await OutboxRepository(session).count_waiting()

    await eventually(waiting, lambda count: count == 0)


async def timed(ask: Ask) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    answer = await ask()
    return time.perf_counter() - began, answer


def without_request_id(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.text.replace(answer.headers['X-Request-ID'], '')}"


async def sample(
    app: FastAPI, kinds: Mapping[str, Ask], *, same: Callable[[httpx.Response], str] = without_request_id
) -> dict[str, list[float]]:
    """Durations of each kind, in seconds. What `same` returns of a response must be the same for all."""
    async with app.state.database.transaction() as session:
        # Mails of other tests, whose workers have ended while they sent them: they are claimed for a minute.
        await session.execute(text("DELETE FROM outbox"))
    order = list(kinds) * SAMPLES
    secrets.SystemRandom().shuffle(order)
    durations: dict[str, list[float]] = {kind: [] for kind in kinds}
    said = set()
    for kind in [*kinds, *order]:
        await mails_are_sent(app)
        seconds, answer = await timed(kinds[kind])
        durations[kind].append(seconds)
        said.add(same(answer))
    # A replica that ends while it claims a mail leaves it to the next one, which waits until the claim has ended.
    await mails_are_sent(app)
    assert len(said) == 1, said
    # The first of each kind opens connections and fills caches.
    return {kind: taken[1:] for kind, taken in durations.items()}


def separability(some: list[float], others: list[float]) -> float:
    """The probability of guessing the kinds of two durations by which one is longer."""
    pairs = [(one > other) + (one == other) / 2 for one, other in itertools.product(some, others)]
    longer = sum(pairs) / len(pairs)
    return max(longer, 1 - longer)


def assert_indistinguishable(durations: Mapping[str, list[float]]) -> None:
    for one, other in itertools.combinations(durations, 2):
        probability = separability(durations[one], durations[other])
        medians = [sorted(durations[kind])[SAMPLES // 2] * 1000 for kind in (one, other)]
        message = (
            f"{one} ({medians[0]:.1f} ms) and {other} ({medians[1]:.1f} ms) are distinguishable in {probability:.0%}"
        )
        assert probability < MAX_SEPARABILITY, message


def test_separability() -> None:
    same = [1.0, 2.0, 3.0, 4.0]
    assert separability(same, same) == 0.5
    assert separability([1.0, 2.0], [3.0, 4.0]) == separability([3.0, 4.0], [1.0, 2.0]) == 1.0
    with pytest.raises(AssertionError):
        assert_indistinguishable(
            {"a": [number / 1000 for number in range(40)], "b": [0.03 + number / 1000 for number in range(40)]}
        )


async def test_failed_logins(app_without_limits: FastAPI, register: Register, rows: AsyncEngine) -> None:
    active, inactive = await register(), await register()
    async with rows.begin() as connection:
        await connection.execute(text("UPDATE users SET is_active = 0 WHERE id = :id"), inactive["user"])
    async with client_of(app_without_limits) as client:

        def login(name: str, password: str) -> Ask:
            return lambda: client.post("/v1/login", json={"login": name, "password": password})

        durations = await sample(
            app_without_limits,
            {
                "an unknown user": login("nobody_here", "the wrong password"),
                "a wrong password": login(active["form"]["username"], "the wrong password"),
                "a wrong password for an address": login(active["form"]["email"], "the wrong password"),
                "an inactive account": login(inactive["form"]["username"], inactive["form"]["password"]),
            },
        )
    assert_indistinguishable(durations)


async def test_forgotten_password(app_without_limits: FastAPI, registered: RegisteredUser) -> None:
    async with client_of(app_without_limits) as client:

        def forgot(address: str) -> Ask:
            return lambda: client.post("/v1/password/forgot", json={"email": address})

        kinds = {"an unknown address": forgot("nobody@example.com"), "a known one": forgot(registered["form"]["email"])}
        durations = await sample(app_without_limits, kinds)
    assert_indistinguishable(durations)


@pytest.mark.long
async def test_change_of_address(
    app_without_limits: FastAPI, registered: RegisteredUser, register: Register, new_form: NewForm
) -> None:
    taken = (await register())["form"]["email"]
    async with client_of(app_without_limits) as client:

        def change(address: Callable[[], str]) -> Ask:
            async def ask() -> httpx.Response:
                body = {"email": address(), "current_password": registered["form"]["password"]}
                answer = await client.patch("/v1/users/me", json=body, headers=bearer(registered))
                assert answer.json()["pending_email"] == body["email"]
                return answer

            return ask

        kinds = {"a free address": change(lambda: new_form()["email"]), "a taken one": change(lambda: taken)}
        durations = await sample(app_without_limits, kinds, same=lambda answer: str(answer.status_code))
    assert_indistinguishable(durations)


async def test_registration_with_email_verification(
    discreet_app: FastAPI, registered: RegisteredUser, new_form: NewForm
) -> None:
    async with client_of(discreet_app) as client:
        taken = {"email": registered["form"]["email"]}
        kinds: dict[str, Ask] = {
            "a new address": lambda: client.post("/v1/register", json=new_form()),
            "a taken one": lambda: client.post("/v1/register", json=new_form() | taken),
        }
        durations = await sample(discreet_app, kinds)
    assert_indistinguishable(durations)
