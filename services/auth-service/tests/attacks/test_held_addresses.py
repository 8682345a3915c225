"""Variations of attacks on addresses that two accounts use: no link that undoes a change is ever blocked."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.client_info import INTERNAL
from auth_service.database import Database, new_id
from auth_service.email_addresses.service import EmailAddressService
from auth_service.keys.encryption import KeyCipher
from auth_service.main import database_of, key_ring, prepare
from auth_service.one_time_tokens import repository
from auth_service.one_time_tokens.models import Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.opaque_tokens import new_token
from auth_service.outbox.service import Outbox
from auth_service.services import Services, password_hasher
from auth_service.settings import Settings
from auth_service.users.models import Credential, User
from auth_service.users.problems import EmailTaken
from auth_service.users.repository import UserRepository
from service_kit.metrics import new_registry
from support.auth_app import AdjustableClock, lock_waits
from support.polling import eventually

# A move of a history: what happens, which of two accounts does it, and a number of an address or of hours.
Move = tuple[str, int, int]

ATTACKS: Sequence[Sequence[Move]] = (
    # A stranger keeps a change open from the time when the address was the stranger's.
    (
        ("register", 0, 0),
        ("request", 0, 1),
        ("confirm", 0, 0),
        ("wait", 0, 71),
        ("request", 0, 2),
        ("wait", 0, 73),
        ("register", 1, 0),
        ("request", 1, 3),
        ("confirm", 1, 0),
        ("confirm", 0, 0),
        ("undo", 1, 0),
    ),
    # Another account takes the address after 72 hours, while the owner moves on.
    (
        ("register", 0, 0),
        ("request", 0, 1),
        ("confirm", 0, 0),
        ("wait", 0, 71),
        ("request", 0, 2),
        ("wait", 0, 73),
        ("register", 1, 3),
        ("request", 1, 0),
        ("confirm", 1, 0),
        ("confirm", 0, 0),
        ("request", 0, 0),
        ("undo", 0, 0),
        ("confirm", 0, 0),
    ),
)
VARIATIONS, HOURS, ADDRESSES = 12, (1, 25, 71, 73), 4

# Two accounts have a valid link to one address, or another account has the address of a valid link.
CONFLICTS = text(
    "SELECT COUNT(*) FROM one_time_tokens link"
    " LEFT JOIN users owner ON owner.email = link.email AND owner.id <> link.user_id"
    " LEFT JOIN one_time_tokens other ON other.email = link.email AND other.user_id <> link.user_id"
    " AND other.purpose = 'undo-email' AND other.expires_at > :now"
    " WHERE link.purpose = 'undo-email' AND link.expires_at > :now"
    " AND (owner.id IS NOT NULL OR other.user_id IS NOT NULL)"
)


@dataclass
class World:
    """Two accounts, some addresses, and all tokens that were issued."""

    database: Database
    addresses: EmailAddressService
    clock: AdjustableClock
    tokens: list[str]
    name: str = field(default_factory=new_id)
    accounts: dict[int, str] = field(default_factory=dict)

    async def play(self, history: Sequence[Move]) -> None:
        for what, account, number in history:
            with suppress(EmailTaken):
                await getattr(self, what)(account, number)
            assert not await self.conflicts(), (history, what, account)

    async def conflicts(self) -> int:
        async with self.database.reading() as session:
            return int(await session.scalar(CONFLICTS, {"now": self.clock().replace(tzinfo=None)}) or 0)

    async def register(self, account: int, address: int) -> None:
        if account not in self.accounts:
            async with self.database.transaction() as session:
                user_id = await self.create(session, address)
            self.accounts[account] = user_id

    async def create(self, session: AsyncSession, address: int) -> str:
        """Store an account as a registration does. Returns its id."""
        now, user_id = self.clock(), new_id()
        names = {"username": user_id[-20:], "name": "Ada", "email": self.email(address)}
        credential = Credential(password_hash="")
        user = User(id=user_id, **names, created_at=now, updated_at=now, credential=credential)
        await UserRepository(session).create(user)
        await self.addresses.ensure_not_held(session, user)
        return user_id

    async def request(self, account: int, address: int) -> None:
        async with self.database.transaction() as session:
            user = await UserRepository(session).lock(self.accounts.get(account, ""))
            if user is not None:
                await self.addresses.change(session, user, self.email(address))

    async def confirm(self, account: int, _: int) -> None:
        """With a link that was sent again: `outbox.writing` issues it like this."""
        async with self.database.transaction() as session:
            user = await UserRepository(session).lock(self.accounts.get(account, ""))
            if user is None:
                return
            email = user.pending_email or user.email
            token = await OneTimeTokenRepository(session).issue(Purpose.CONFIRM_EMAIL, user, email, self.clock())
        await self.addresses.confirm(token, INTERNAL)

    async def undo(self, account: int, _: int) -> None:
        """With the newest link of the account."""
        for token in reversed(self.tokens):
            async with self.database.reading() as session:
                found = await OneTimeTokenRepository(session).get(Purpose.UNDO_EMAIL, token, self.clock())
            if found is not None and found.user_id == self.accounts.get(account):
                try:
                    await self.addresses.undo(token, INTERNAL)
                except EmailTaken:
                    pytest.fail("a valid link was refused because of another account")
                return

    async def wait(self, _: int, hours: int) -> None:
        self.clock.advance(hours=hours)

    def email(self, address: int) -> str:
        return f"{address}-{self.name}@example.org"


@pytest.fixture
async def world(settings: Settings, empty_schema: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """In a schema of its own, because its clock runs ahead."""
    changed = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    await prepare(changed)
    clock, tokens = AdjustableClock(), list[str]()
    clock.freeze()

    def recorded() -> str:
        tokens.append(new_token())
        return tokens[-1]

    monkeypatch.setattr(repository, "new_token", recorded)
    async with database_of(changed) as database:
        with closing(password_hasher(changed)) as hasher:
            services = Services.of(
                changed,
                database=database,
                keys=key_ring(changed, database, clock),
                hasher=hasher,
                outbox=Outbox(KeyCipher(changed.auth_key_encryption_secret.get_secret_value()), clock),
                clock=clock,
                registry=new_registry(),
            )
            yield World(database, services.addresses, clock, tokens)


def varied(history: Sequence[Move], chance: random.Random) -> list[Move]:
    """A history with some moves left out, added or exchanged."""
    changed = list(history)
    for _ in range(chance.randint(1, 4)):
        place, what = chance.randrange(len(changed)), chance.choice(["request", "confirm", "undo", "wait"])
        move = (what, chance.randrange(2), chance.choice(HOURS) if what == "wait" else chance.randrange(ADDRESSES))
        changed[place : place + chance.randrange(2)] = [move]
    return changed


@pytest.mark.parametrize("attack", range(len(ATTACKS)))
async def test_no_history_blocks_a_link_that_undoes_a_change(world: World, attack: int) -> None:
    chance = random.Random(attack)  # noqa: S311 - no secret
    for history in [ATTACKS[attack], *(varied(ATTACKS[attack], chance) for _ in range(VARIATIONS))]:
        world.accounts, world.name = {}, new_id()
        world.tokens.clear()
        await world.play(history)


async def test_link_that_is_renewed_when_it_expires_holds_its_address(world: World) -> None:
    """The next link is not committed yet when the address is taken."""
    await world.play([("register", 0, 0), ("request", 0, 1), ("confirm", 0, 0)])
    world.clock.advance(hours=71, minutes=59, seconds=59)
    async with world.database.transaction() as session:
        user = await UserRepository(session).lock(world.accounts[0])
        assert user is not None
        await world.addresses.change(session, user, world.email(2))
        world.clock.advance(seconds=2)
        with pytest.raises(EmailTaken):
            await world.register(1, 0)
    assert not await world.conflicts()


# A change is open from a time when its account could restore the address 0. Its confirmation sends another link there.
OLD_CHANGE = ATTACKS[0][:6]


async def test_address_is_not_taken_while_another_link_to_it_is_issued(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.database.TRANSACTION_SECONDS", 30)
    await world.play(OLD_CHANGE)
    async with world.database.transaction() as session:
        user = await UserRepository(session).lock(world.accounts[0])
        assert user is not None
        assert await world.addresses.recall(session, user, world.email(0))
        await OneTimeTokenRepository(session).issue(Purpose.UNDO_EMAIL, user, world.email(0), world.clock())
        taking = asyncio.create_task(world.register(1, 0))
        await eventually(lambda: lock_waits(world.database.engine, "users"))
    with pytest.raises(EmailTaken):
        await taking
    assert not await world.conflicts()


async def test_no_other_link_is_issued_while_its_address_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.database.TRANSACTION_SECONDS", 30)
    await world.play(OLD_CHANGE)
    async with world.database.transaction() as session:
        await world.create(session, 0)
        confirming = asyncio.create_task(world.confirm(0, 0))
        await eventually(lambda: lock_waits(world.database.engine, "users"))
    with pytest.raises(EmailTaken):
        await confirming
    await world.confirm(0, 0)
    assert not await world.conflicts()
