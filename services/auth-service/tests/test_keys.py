"""Schedule, rotation and withdrawal of signing keys in several replicas."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from auth_service.keys.schedule import LAST_TOKENS, LEAD, is_rotation_due, published, signing
from auth_service.main import prepare
from auth_service.settings import Settings
from support.auth_app import AdjustableClock, RegisteredUser, client_of, kid_of, log_in, running_app
from support.responses import bearer, problem

START = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


@dataclass(frozen=True)
class Key:
    signs_from: datetime


async def published_kids(client: httpx.AsyncClient) -> set[str]:
    return {key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]}


@given(
    st.lists(st.integers(min_value=0, max_value=400), min_size=1, max_size=8, unique=True),
    st.integers(min_value=0, max_value=500 * 24),
    st.integers(min_value=60, max_value=3600),
)
def test_key_is_published_until_all_its_tokens_have_expired(days: list[int], hour: int, lifetime: int) -> None:
    keys = [Key(START + timedelta(days=day)) for day in sorted(days)]
    moment = max(keys[0].signs_from, START + timedelta(hours=hour))
    key = signing(keys, moment)
    for later in (0, lifetime - 1, lifetime):
        assert key in published(keys, moment + timedelta(seconds=later))


def test_key_is_published_before_it_signs_until_its_tokens_have_expired() -> None:
    old, new = Key(START), Key(START + MONTH)
    assert published([old, new], new.signs_from - LEAD) == [old, new]
    assert signing([old, new], new.signs_from - timedelta(seconds=1)) is old
    assert signing([old, new], new.signs_from) is new
    assert published([old, new], new.signs_from + LAST_TOKENS) == [new]


def test_next_key_is_created_before_it_signs() -> None:
    keys = [Key(START)]
    assert not is_rotation_due(keys, START + MONTH - LEAD - timedelta(seconds=1), MONTH)
    assert is_rotation_due(keys, START + MONTH - LEAD, MONTH)
    assert not is_rotation_due([*keys, Key(START + MONTH)], START + MONTH - LEAD, MONTH)


async def test_keys_are_rotated_on_schedule_and_sessions_survive(empty_schema: str, settings: Settings) -> None:
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    await prepare(own)
    clock = AdjustableClock()
    async with (
        running_app(own, clock) as app,
        running_app(own, clock) as other,
        client_of(app) as client,
        client_of(other) as elsewhere,
    ):
        form = {"username": "ada", "email": "ada@example.com", "name": "Ada", "password": "a good passphrase"}
        first = (await client.post("/v1/register", json=form | {"password_confirm": form["password"]})).json()
        user: RegisteredUser = {**first, "form": form}

        clock.advance(days=30, minutes=-15)
        await app.state.housekeeper.clean_up()
        await other.state.housekeeper.clean_up()
        assert await published_kids(client) == await published_kids(elsewhere)
        assert len(await published_kids(client)) == 2
        clock.advance(minutes=14)
        before = await log_in(client, user)
        assert kid_of(before) == kid_of(first)

        clock.advance(minutes=2)
        after = await log_in(client, user)
        assert kid_of(after) != kid_of(before)
        assert kid_of(await log_in(elsewhere, user)) == kid_of(after)
        assert (await elsewhere.get("/v1/users/me", headers=bearer(before))).status_code == 200

        clock.advance(hours=2)
        await app.state.housekeeper.clean_up()
        await other.state.housekeeper.clean_up()
        for each in (client, elsewhere):
            assert await published_kids(each) == {kid_of(after)}


async def test_withdrawn_key_is_refused_by_each_replica_after_housekeeping(
    empty_schema: str, settings: Settings
) -> None:
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    await prepare(own)
    clock = AdjustableClock()
    async with running_app(own, clock) as app, running_app(own, clock) as other, client_of(app) as client:
        form = {"username": "ada", "email": "ada@example.com", "name": "Ada", "password": "a good passphrase"}
        stolen = (await client.post("/v1/register", json=form | {"password_confirm": form["password"]})).json()
        await app.state.key_ring.rotate(withdraw_others=True)
        assert problem(await client.get("/v1/users/me", headers=bearer(stolen))) == (401, "invalid-token")
        fresh = await log_in(client, {"form": form})
        assert (await client.get("/v1/users/me", headers=bearer(fresh))).status_code == 200
        await other.state.housekeeper.clean_up()
        async with client_of(other) as elsewhere:
            assert problem(await elsewhere.get("/v1/users/me", headers=bearer(stolen))) == (401, "invalid-token")
            assert (await elsewhere.get("/v1/users/me", headers=bearer(fresh))).status_code == 200


async def test_key_set_is_cached_for_less_time_than_a_key_is_published_before_it_signs(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert timedelta(seconds=300) < LEAD
    assert all("d" not in key for key in answer.json()["keys"])
