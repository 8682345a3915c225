"""Limits on attempts: the rule itself, and over HTTP."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from auth_service.limits.backoff import Attempts, BackoffPolicy, rate_limit_of, record_attempt, reserve_attempt
from auth_service.limits.budget import Budget
from auth_service.limits.slow_lane import SlowLane
from auth_service.settings import Settings
from support.auth_app import AdjustableClock, NewForm, Register, RegisteredUser, client_of, events_of, running_app
from support.polling import eventually
from support.responses import bearer, problem

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = BackoffPolicy("login", quota=3, window=timedelta(minutes=15), max_delay=timedelta(minutes=5))


def delays_of(policy: BackoffPolicy, attempts: int) -> list[float]:
    """The delay in seconds after each attempt, if each is made as soon as it is allowed."""
    state, now, waits = None, START, []
    for _ in range(attempts):
        state = record_attempt(state, policy, now)
        assert state is not None
        waits.append((max(state.blocked_until, now) - now).total_seconds())
        now = max(state.blocked_until, now)
    return waits


def test_delay_begins_with_the_last_free_attempt_and_doubles_up_to_its_maximum() -> None:
    assert delays_of(POLICY, 14) == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_window_without_attempts_resets_the_count() -> None:
    state = Attempts(50, START, START + timedelta(minutes=5))
    assert record_attempt(state, POLICY, START + timedelta(minutes=15)) == Attempts(
        1, START + timedelta(minutes=15), START + timedelta(minutes=15)
    )


def test_attempts_that_wait_are_made_at_the_times_of_those_that_are_repeated_until_allowed() -> None:
    state, repeated, now = None, None, START
    for _ in range(14):
        state, repeated = reserve_attempt(state, POLICY, START), record_attempt(repeated, POLICY, now)
        assert state == repeated
        now = state.blocked_until
    assert record_attempt(state, POLICY, state.last_at) is None


def test_slow_clock_of_a_replica_causes_no_delay_within_the_quota() -> None:
    state = record_attempt(None, POLICY, START)
    assert record_attempt(state, POLICY, START - timedelta(seconds=2)) is not None


@given(st.lists(st.floats(min_value=0, max_value=1200), max_size=200), st.integers(min_value=1, max_value=10))
def test_no_pace_gets_more_attempts_than_the_policy_allows(pauses: list[float], quota: int) -> None:
    """A window allows the quota and as many attempts as the doubling delays permit."""
    policy = BackoffPolicy("any", quota, timedelta(minutes=15), timedelta(minutes=5))
    state, now, made = None, START, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        after = record_attempt(state, policy, now)
        if after is None:
            assert state is not None
            refused = rate_limit_of(state, policy, now)
            assert refused.remaining == 0
            assert refused.reset_seconds >= 1
            later = now + timedelta(seconds=refused.reset_seconds)
            assert record_attempt(state, policy, later) is not None, "Retry-After was too short"
        else:
            state = after
            made.append(now)
    for first in made:
        within = [moment for moment in made if first <= moment < first + policy.window]
        # 1 + 2 + … + 256 + 300 s: ten attempts beyond the quota fit into 15 minutes. A period may overlap two windows.
        assert len(within) <= 2 * (quota + 10)


def test_budget_is_used_up_by_its_quota_and_restored_steadily() -> None:
    budget = Budget("any", 10, timedelta(minutes=10))
    restored_at = START + 10 * budget.interval
    assert not budget.is_used_up(None, START)
    assert not budget.is_used_up(restored_at - budget.interval, START)
    assert budget.is_used_up(restored_at, START)
    assert not budget.is_used_up(restored_at, START + timedelta(minutes=1))
    assert not budget.is_used_up(START + budget.latest, START + timedelta(minutes=2))


@given(st.integers(min_value=0, max_value=10**9))
def test_any_number_of_attempts_gives_a_finite_delay(count: int) -> None:
    state = Attempts(count, START, START)
    after = record_attempt(state, POLICY, START + timedelta(seconds=300))
    assert after is not None
    assert after.blocked_until - after.last_at <= POLICY.max_delay


async def fail(client: httpx.AsyncClient, login: str) -> httpx.Response:
    return await client.post("/v1/login", json={"login": login, "password": "wrong password"})


async def test_failed_logins_are_delayed_and_reported_in_headers(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock, admin: RegisteredUser
) -> None:
    clock.freeze()
    login = registered["form"]["username"]
    answers = [await fail(client, login) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"login-account";q=10;w=900'
    assert answers[0].headers["ratelimit"].startswith('"login-account";r=9;t=')
    assert problem(answers[10]) == (429, "too-many-requests")
    assert answers[10].headers["retry-after"] == "1"
    assert answers[10].headers["ratelimit"] == '"login-account";r=0;t=1'
    right = {"login": login, "password": registered["form"]["password"]}
    assert (await client.post("/v1/login", json=right)).status_code == 429
    clock.advance(seconds=1)
    assert (await fail(client, login)).status_code == 401
    assert (await fail(client, login)).headers["retry-after"] == "2"
    clock.advance(seconds=2)
    assert (await client.post("/v1/login", json=right)).status_code == 200
    assert (await fail(client, login)).headers["ratelimit"].startswith('"login-account";r=9;')
    locks = await events_of(client, admin, user=registered["user"]["id"], event="authn_login_lock")
    assert [lock["details"]["seconds"] for lock in locks] == [2, 1]


async def test_failed_logins_of_unknown_users_are_delayed_alike(
    client: httpx.AsyncClient, clock: AdjustableClock
) -> None:
    clock.freeze()
    answers = [await fail(client, "nobody_of_this_name") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert answers[0].headers["ratelimit"].startswith('"login-account";r=9;t=')


async def test_guesses_are_counted_by_account_under_all_its_names(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    form = registered["form"]

    async def by_form(name: str) -> int:
        data = {"username": name, "password": "wrong password"}
        return (await client.post("/v1/token", data=data)).status_code

    statuses = [(await fail(client, form["username"])).status_code for _ in range(3)]
    statuses += [(await fail(client, form["email"].upper())).status_code for _ in range(3)]
    statuses += [await by_form(form["email"]) for _ in range(4)]
    assert statuses == [401] * 6 + [400] * 4
    for name in (form["username"], form["email"]):
        assert (await fail(client, name)).status_code == 429
        assert await by_form(name) == 429
    assert (await fail(client, f"unknown{form['email']}")).headers["ratelimit"].startswith('"login-account";r=9;')


async def test_id_of_an_account_is_not_one_of_its_names(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    await fail(client, registered["user"]["id"])
    answer = await fail(client, registered["form"]["username"])
    assert answer.headers["ratelimit"].startswith('"login-account";r=9;')


async def test_account_can_not_be_attacked_under_many_spellings(
    client: httpx.AsyncClient, register: Register, new_form: NewForm
) -> None:
    """A login by another name fails even with the correct password."""
    form = new_form()
    user = await register(**form | {"email": f"jose.{form['email']}"})
    password = {"password": form["password"]}
    accented = user["form"]["email"].replace("jose", "josé")
    assert problem(await client.post("/v1/login", json={"login": accented, **password}))[0] == 401
    assert problem(await client.post("/v1/login", json={"login": form["username"] + " ", **password}))[0] == 401


_days = itertools.count(30)


@pytest.fixture
async def strict(settings: Settings) -> AsyncIterator[FastAPI]:
    """A replica with small limits per address and overall, and a frozen clock in the future."""
    clock = AdjustableClock()
    clock.freeze()
    # Attempts of other tests in the same database must be outside of the window.
    clock.advance(days=next(_days))
    async with running_app(
        settings,
        clock,
        auth_login_attempts_per_address=5,
        auth_login_failures_overall=8,
        auth_registrations_per_address=2,
    ) as app:
        yield app


async def test_one_address_can_not_try_a_password_on_many_accounts(strict: FastAPI) -> None:
    async with client_of(strict, "198.51.100.1") as attacker, client_of(strict, "198.51.100.2") as other:
        answers = [await fail(attacker, f"victim_{number}") for number in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        assert answers[5].headers["ratelimit"].startswith('"login-address";r=0;')
        assert (await fail(other, "victim_0")).status_code == 401


async def test_ipv6_network_counts_as_one_address(strict: FastAPI) -> None:
    for number in range(5):
        async with client_of(strict, f"2001:db8:0:1::{number:x}") as client:
            assert (await fail(client, f"target_{number}")).status_code == 401
    async with client_of(strict, "2001:db8:0:1:ffff::1") as same, client_of(strict, "2001:db8:0:2::1") as other:
        assert (await fail(same, "target_9")).status_code == 429
        assert (await fail(other, "target_9")).status_code == 401


async def test_flood_from_many_addresses_locks_no_client_out(strict: FastAPI, registered: RegisteredUser) -> None:
    right = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
    for number in range(12):
        async with client_of(strict, f"203.0.113.{number}") as attacker:
            assert (await fail(attacker, f"spread_{number}")).status_code == 401
    async with client_of(strict, "198.51.100.40") as newcomer:
        assert (await newcomer.post("/v1/login", json=right)).status_code == 200


async def test_clients_with_failures_wait_when_the_budget_is_used_up(
    strict: FastAPI, registered: RegisteredUser
) -> None:
    right = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
    services, restored = strict.state.services, asyncio.Event()
    lane = SlowLane(services.login.limits.login_overall, sleep=lambda _pace: restored.wait())
    strict.state.services = replace(services, login=replace(services.login, slow_lane=lane))

    async def guess(number: int) -> httpx.Response:
        async with client_of(strict, f"203.0.113.{number}") as attacker:
            return await fail(attacker, f"spread_{number}")

    for number in range(12):
        assert (await guess(number)).status_code == 401
    guesses = [asyncio.create_task(guess(number)) for number in range(12)]
    await eventually(lambda: are_done(guesses, 7))
    async with client_of(strict, "198.51.100.41") as newcomer:
        assert (await newcomer.post("/v1/login", json=right)).status_code == 200
    assert sum(each.done() for each in guesses) == 7
    restored.set()
    answers = await asyncio.gather(*guesses)
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 7
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["ratelimit"] == '"login-overall";r=0;t=5'
    assert refused.headers["retry-after"] == "5"


async def are_done(tasks: list[asyncio.Task[httpx.Response]], number: int) -> bool:
    return sum(task.done() for task in tasks) >= number


async def test_attack_from_many_addresses_does_not_delay_a_right_login(
    settings: Settings, registered: RegisteredUser
) -> None:
    """The hashes of the guesses keep all cores busy. A right password of a new client has its turn before most."""
    right = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
    addresses, guesses_each = range(100, 112), 5

    async def guess(app: FastAPI, address: int, login: str) -> None:
        async with client_of(app, f"203.0.113.{address}") as attacker:
            await fail(attacker, login)

    async with running_app(settings) as app:
        hasher = app.state.services.login.hasher
        await asyncio.gather(*(guess(app, address, f"first_{address}") for address in addresses))
        async with asyncio.TaskGroup() as attackers:
            flood = [
                attackers.create_task(guess(app, address, f"target_{address}_{number}"))
                for address, number in itertools.product(addresses, range(guesses_each))
            ]
            await eventually(lambda: has_grown_to(lambda: hasher.queued, len(flood) // 2))
            async with client_of(app, "198.51.100.80") as newcomer:
                assert (await newcomer.post("/v1/login", json=right)).status_code == 200
            assert not all(each.done() for each in flood)


async def has_grown_to(value: Callable[[], float], least: float) -> bool:
    return value() >= least


async def test_successful_logins_do_not_use_up_an_address(strict: FastAPI, registered: RegisteredUser) -> None:
    right = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
    async with client_of(strict, "198.51.100.20") as client:
        for _ in range(12):
            assert (await client.post("/v1/login", json=right)).status_code == 200


async def test_concurrent_attempts_do_not_exceed_the_limit(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    answers = await asyncio.gather(*(fail(client, registered["form"]["username"]) for _ in range(30)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {401, 429}
    assert len(answers) - len(refused) == 10


async def test_registrations_from_one_address_are_limited(strict: FastAPI, new_form: NewForm) -> None:
    async with client_of(strict, "198.51.100.30") as client:
        answers = [await client.post("/v1/register", json=new_form()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert answers[0].headers["ratelimit"].startswith('"registration-address";r=1;')


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        # The peer, and its X-Forwarded-For.
        (("192.0.2.77", "198.51.100.99"), "192.0.2.77"),
        (("192.0.2.1", "198.51.100.99"), "198.51.100.99"),
        (("192.0.2.200", "203.0.113.1, 198.51.100.99, 192.0.2.1"), "198.51.100.99"),
        (("192.0.2.1", "::ffff:198.51.100.99"), "198.51.100.99"),
        (("192.0.2.1", "<script>"), ""),
        (("192.0.2.1", "x" * 5000), ""),
    ],
)
async def test_forwarded_addresses_are_accepted_from_trusted_proxies_only(
    app: FastAPI, client: httpx.AsyncClient, registered: RegisteredUser, path: tuple[str, str], seen: str
) -> None:
    peer, forwarded = path
    login = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
    async with client_of(app, peer, **{"X-Forwarded-For": forwarded}) as proxied:
        tokens = (await proxied.post("/v1/login", json=login)).json()
    (current,) = [
        each
        for each in (await client.get("/v1/sessions", headers=bearer(tokens))).json()["items"]
        if each["is_current"]
    ]
    assert current["address"] == seen
