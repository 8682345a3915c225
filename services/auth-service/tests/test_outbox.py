"""The outbox: mails survive a kill, replicas share the work, and no token stays in the database."""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Database, new_id, utc_now
from auth_service.keys.encryption import KeyCipher
from auth_service.limits.backoff import Attempts
from auth_service.limits.policies import Limits, of_mailbox
from auth_service.limits.repository import AttemptRepository
from auth_service.limits.service import AttemptLimiter
from auth_service.mail.links import Links
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.mail.smtp import SmtpServer
from auth_service.main import database_of, prepare
from auth_service.one_time_tokens.models import Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.outbox.models import OutboxMail
from auth_service.outbox.service import Outbox
from auth_service.outbox.worker import OutboxWorker
from auth_service.outbox.writing import MailPostponed, MailWriter
from auth_service.settings import Settings
from auth_service.users.models import Credential, User
from auth_service.users.repository import UserRepository
from embedded_stack import Stack
from service_kit.mysql import create_engine
from service_kit.problems import ServiceUnavailable
from service_kit.retry import Backoff
from support.auth_app import AdjustableClock, NewForm, lock_waits, own_schema
from support.mails import BASE, FAST, MailCounters, ScriptedServer, Sink, new_address, until_logged
from support.polling import eventually
from support.ports import free_port
from support.replicas import running_replicas

CLIENT = ClientInfo("198.51.100.7", "curl", "a-request")
NOTICE, TAKEN = MailKind.PASSWORD_CHANGED_NOTICE, MailKind.REGISTRATION_WITH_TAKEN_EMAIL


class Harness:
    """An outbox on its own schema. Tests decide when a worker runs, and with which mail server."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.clock = AdjustableClock()
        self.counters = MailCounters()
        cipher = KeyCipher(settings.auth_key_encryption_secret.get_secret_value())
        self.outbox = Outbox(cipher, self.clock)
        mails = MailComposer(settings.auth_mail_from, Links(BASE), self.clock)
        audit, limiter = AuditTrail(self.clock), AttemptLimiter(self.clock)
        self.writer = MailWriter(database, self.outbox, mails, audit, limiter, Limits.of(settings), self.clock)

    async def user(self, email: str | None = None, *, is_confirmed: bool = False) -> User:
        user_id, now = new_id(), utc_now()
        user = User(
            id=user_id,
            username=f"u{user_id[-10:]}",
            name="Ada",
            email=email or new_address(),
            created_at=now,
            updated_at=now,
            credential=Credential(password_hash="x", email_verified_at=now if is_confirmed else None),
        )
        async with self.database.transaction() as session:
            await UserRepository(session).create(user)
        return user

    async def put(self, kind: MailKind, user: User, token: str | None = None) -> None:
        async with self.database.transaction() as session:
            confirmed = user.email_verified
            await self.outbox.put(session, kind, user.email, user=user, token=token, is_confirmed=confirmed)

    async def put_link(self, kind: MailKind, purpose: Purpose, user: User) -> str:
        async with self.database.transaction() as session:
            token = await OneTimeTokenRepository(session).issue(purpose, user, user.email, self.clock())
            await self.outbox.put(session, kind, user.email, user=user, token=token)
        return token

    async def is_written(self, kind: MailKind, user: User, purpose: Purpose | None = None) -> bool:
        """Store a mail to the user and write it. Returns whether it would be sent."""
        async with self.database.transaction() as session:
            token = purpose and await OneTimeTokenRepository(session).issue(purpose, user, user.email, self.clock())
            about = None if kind in (MailKind.RESET_PASSWORD, TAKEN) else user
            confirmed = user.email_verified
            await self.outbox.put(
                session, kind, user.email, user=about, token=token, client=CLIENT, is_confirmed=confirmed
            )
        row = (await self.rows())[-1]
        try:
            return await self.writer.write(row) is not None
        except MailPostponed:
            return False

    async def valid_links(self, user: User) -> list[bytes]:
        async with self.database.reading() as session:
            return [each.token_hash for each in await OneTimeTokenRepository(session).list_valid(user.id, self.clock())]

    async def rows(self) -> list[OutboxMail]:
        async with self.database.reading() as session:
            return list(await session.scalars(select(OutboxMail).order_by(OutboxMail.id)))

    def worker(self, server: SmtpServer, **options: Any) -> OutboxWorker:
        options = {"backoff": FAST, "drain_seconds": 0.0, **options}
        return OutboxWorker(self.database, self.writer, server, self.counters.metrics, self.clock, **options)

    @asynccontextmanager
    async def working(self, server: SmtpServer, **options: Any) -> AsyncIterator[None]:
        """A worker that runs for the length of the block."""
        async with self.worker(server, **options) as worker:
            running = asyncio.create_task(worker.run())
            try:
                yield
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running


@pytest.fixture(scope="module")
async def outbox_settings(settings: Settings, engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[Settings]:
    async with own_schema(engine, mysql_root_url) as url:
        own = settings.model_copy(update={"mysql_url": SecretStr(url)})
        await prepare(own)
        yield own


@pytest.fixture
async def harness(outbox_settings: Settings) -> AsyncIterator[Harness]:
    async with database_of(outbox_settings) as database:
        yield Harness(outbox_settings, database)
        async with database.transaction() as session:
            await session.execute(text("DELETE FROM outbox"))


@pytest.fixture
async def sink(stack: Stack) -> AsyncIterator[Sink]:
    stack.start("mail")
    sink = Sink(stack.addresses["MAIL_URL"])
    yield sink
    await sink.close()


def dead_server(port: int) -> SmtpServer:
    return SmtpServer("127.0.0.1", port)


async def test_mail_is_stored_with_its_transaction_or_not_at_all(harness: Harness) -> None:
    user = await harness.user()

    async def fail_after_put() -> None:
        async with harness.database.transaction() as session:
            await harness.outbox.put(session, NOTICE, user.email, user=user)
            raise KeyError

    with pytest.raises(KeyError):
        await fail_after_put()
    assert (await harness.rows(), harness.outbox.filled.is_set()) == ([], False)
    await harness.put(NOTICE, user)
    assert (len(await harness.rows()), harness.outbox.filled.is_set()) == (1, True)


async def test_sent_mail_leaves_nothing(harness: Harness) -> None:
    user = await harness.user()
    await harness.put(NOTICE, user)
    async with ScriptedServer().serving() as server, harness.working(server.plain):
        await harness.counters.until(NOTICE, "sent")
        await eventually(harness.rows, lambda rows: not rows)
    assert len(server.mails) == 1


async def test_no_token_is_in_the_database_in_clear_text(harness: Harness) -> None:
    user = await harness.user()
    token = await harness.put_link(MailKind.CONFIRM_EMAIL, Purpose.CONFIRM_EMAIL, user)
    async with harness.database.transaction() as session:
        await harness.outbox.put(session, MailKind.RESET_PASSWORD, user.email, client=CLIENT)
    with capture_logs() as logs:
        async with harness.working(dead_server(free_port())):
            await eventually(harness.rows, lambda rows: all(row.attempts and row.sealed_token for row in rows))
    first, second = await harness.rows()
    assert harness.outbox.unseal(first.id, first.sealed_token or b"") == token
    assert token not in repr([vars(row) for row in (first, second)])
    assert token not in repr(logs)
    assert user.email not in repr(logs)
    with pytest.raises(Exception, match="AUTH_KEY_ENCRYPTION_SECRET"):
        harness.outbox.unseal(second.id, first.sealed_token or b"")


async def test_mail_waits_for_a_server_that_is_down_and_is_sent_once(harness: Harness) -> None:
    user = await harness.user()
    token = await harness.put_link(MailKind.CONFIRM_EMAIL, Purpose.CONFIRM_EMAIL, user)
    with capture_logs() as logs:
        # A worker that is cancelled after its claim keeps it to the end.
        async with harness.working(dead_server(free_port()), drain_seconds=10, claim_seconds=5):
            await until_logged(logs, "mail delayed")
            await eventually(harness.rows, lambda rows: rows[0].attempts > 2)
    assert sum(line["event"] == "mail delayed" and line["log_level"] == "warning" for line in logs) == 1
    async with ScriptedServer("451 4.7.1 greylisted").serving() as server, harness.working(server.plain):
        await harness.counters.until(MailKind.CONFIRM_EMAIL, "sent")
    (mail,) = server.mails
    assert token in str(mail.get_body(("plain",)))


async def test_retry_sends_the_same_mail(harness: Harness) -> None:
    """A reset is written by the worker: a second attempt must not replace the token of the first."""
    user = await harness.user()
    async with harness.database.transaction() as session:
        await harness.outbox.put(session, MailKind.RESET_PASSWORD, user.email, client=CLIENT)
    (row,) = await harness.rows()
    first = await harness.writer.write(row)
    (row,) = await harness.rows()
    second = await harness.writer.write(row)
    assert first is not None
    assert second is not None
    assert first.message_id == second.message_id == f"<{row.id}@tandem.example>"
    links = [re.findall(r"token=[\w-]+", str(each.message.get_body(("plain",)))) for each in (first, second)]
    assert links[0] == links[1] != []
    async with harness.database.reading() as session:
        query = text("SELECT COUNT(*) FROM audit_events WHERE event = 'authn_token_created' AND user_id = :id")
        assert await session.scalar(query, {"id": user.id}) == 1


async def test_mail_of_a_withdrawn_link_is_not_sent(harness: Harness) -> None:
    user = await harness.user()
    await harness.put_link(MailKind.CONFIRM_EMAIL, Purpose.CONFIRM_EMAIL, user)
    newer = await harness.put_link(MailKind.CONFIRM_EMAIL, Purpose.CONFIRM_EMAIL, user)
    async with ScriptedServer().serving() as server, harness.working(server.plain):
        await harness.counters.until(MailKind.CONFIRM_EMAIL, "sent")
        await harness.counters.until(MailKind.CONFIRM_EMAIL, "not_due")
    (mail,) = server.mails
    assert newer in str(mail.get_body(("plain",)))


async def test_mail_of_a_deleted_account_is_deleted(harness: Harness) -> None:
    user = await harness.user()
    await harness.put(NOTICE, user)
    async with harness.database.transaction() as session:
        found = await UserRepository(session).lock(user.id)
        assert found is not None
        await UserRepository(session).delete(found)
    assert await harness.rows() == []


async def test_unknown_address_causes_no_mail(harness: Harness) -> None:
    async with harness.database.transaction() as session:
        await harness.outbox.put(session, MailKind.RESET_PASSWORD, new_address(), client=CLIENT)
        await harness.outbox.put(session, TAKEN, new_address())
    async with ScriptedServer().serving() as server, harness.working(server.plain):
        await harness.counters.until(MailKind.RESET_PASSWORD, "not_due")
        await harness.counters.until(TAKEN, "not_due")
        await eventually(harness.rows, lambda rows: not rows)
    assert server.mails == []


async def test_link_to_a_new_password_is_not_sent_to_another_address_than_the_requested_one(
    harness: Harness, outbox_settings: Settings
) -> None:
    """The account's address changes while the mail is written."""
    user = await harness.user()
    rows = create_engine(outbox_settings.mysql_url.get_secret_value())
    async with harness.database.transaction() as session:
        await harness.outbox.put(session, MailKind.RESET_PASSWORD, user.email, client=CLIENT)
    async with rows.begin() as connection:
        change = text("UPDATE users SET email = :email WHERE id = :id")
        await connection.execute(change, {"email": new_address(), "id": user.id})
        writing = asyncio.create_task(harness.writer.write((await harness.rows())[0]))
        await eventually(lambda: lock_waits(rows, "users"))
    assert await writing is None
    await rows.dispose()


LIMITED = [
    (MailKind.CONFIRM_EMAIL, Purpose.CONFIRM_EMAIL, 10),
    (MailKind.CONFIRM_NEW_EMAIL, Purpose.CONFIRM_EMAIL, 10),
    (MailKind.EMAIL_CHANGE_NOTICE, Purpose.UNDO_EMAIL, 10),
    (MailKind.RESET_PASSWORD, None, 5),
    (TAKEN, None, 5),
    (NOTICE, None, 10),
    (MailKind.EMAIL_RESTORED_NOTICE, None, 10),
    (MailKind.EMAIL_CHANGED_NOTICE, Purpose.UNDO_EMAIL, 10),
]


LINKS_THAT_UNDO = (MailKind.EMAIL_CHANGE_NOTICE, MailKind.EMAIL_CHANGED_NOTICE)


@pytest.mark.parametrize(("kind", "purpose", "quota"), LIMITED)
async def test_mails_beyond_the_limit_of_a_mailbox_are_not_written(
    harness: Harness, kind: MailKind, purpose: Purpose | None, quota: int
) -> None:
    harness.clock.freeze()
    local, _, domain = new_address().partition("@")
    oldest = [await harness.user(f"{local}+{alias}@{domain}") for alias in "abc"]
    one, other, owner = [await harness.user(f"{local}{alias}@{domain}") for alias in ("+1", "+2", "")]
    confirmed = await harness.user(f"{local}+mine@{domain}", is_confirmed=True)
    written = [await harness.is_written(kind, user, purpose) for user in (one, other) * quota]
    assert written == [True] * quota + [False] * quota, "the aliases of a mailbox are counted together"
    for user in (owner, confirmed):
        assert await harness.is_written(kind, user, purpose), "mails to others' aliases keep none of the owner's back"
    # They have no account's address yet, which others might not want.
    is_counted_apart = kind is not MailKind.CONFIRM_NEW_EMAIL
    for user in oldest:
        assert await harness.is_written(kind, user, purpose) is is_counted_apart, "younger accounts keep none back"
    if is_counted_apart:
        more = [await harness.is_written(kind, oldest[-1], purpose) for _ in range(quota)]
        assert more == [True] * (quota - 1) + [False]


async def test_accounts_that_are_deleted_again_have_no_more_mails_counted_apart(harness: Harness) -> None:
    harness.clock.freeze()
    local, _, domain = new_address().partition("@")
    written = []
    for alias in range(6):
        user = await harness.user(f"{local}+{alias}@{domain}")
        written += [await harness.is_written(NOTICE, user) for _ in range(5)]
        async with harness.database.transaction() as session:
            await UserRepository(session).delete(await UserRepository(session).lock(user.id) or user)
    assert written == [True] * 10 + [False] * 20


@pytest.mark.parametrize("kind", LINKS_THAT_UNDO)
@pytest.mark.parametrize("alias", ["", "+mine"])
async def test_link_that_undoes_a_change_waits_for_the_limit_of_its_mailbox(
    harness: Harness, kind: MailKind, alias: str
) -> None:
    """Otherwise a thief who knows the password could use the limit up, and move the account without such a link."""
    harness.clock.freeze()
    user = await harness.user(new_address().replace("@", f"{alias}@"))
    written = [await harness.is_written(kind, user, Purpose.UNDO_EMAIL) for _ in range(12)]
    assert written == [True] * 10 + [False] * 2
    first, second = (await harness.rows())[-2:]
    assert first.due_at is not None
    assert second.due_at is not None
    assert first.due_at < second.due_at, "each waits for those before"
    assert (first.reason, first.died_at, second.reason, second.died_at) == ("limit of the mailbox", None) * 2
    harness.clock.advance(hours=71)
    for row in (first, second):
        row.attempts = 1
        mail = await harness.writer.write(row)
        assert mail is not None, "it was counted when it was postponed"
        token = harness.outbox.unseal(row.id, row.sealed_token or b"")
        assert token in str(mail.message.get_body(("plain",)))


async def test_account_is_the_oldest_of_its_alias_as_long_as_it_could_take_it_back(harness: Harness) -> None:
    """Otherwise the number of an account could rise again, to one that younger accounts have had."""
    local, domain = new_address().split("@")
    older = await harness.user(f"{local}+older@{domain}")
    user = await harness.user(f"{local}+mine@{domain}")

    async def number() -> int:
        async with harness.database.transaction() as session:
            return await OneTimeTokenRepository(session).count_older_aliases(f"{local}@{domain}", user.id, 3)

    async with harness.database.transaction() as session:
        moved = await UserRepository(session).lock(older.id)
        assert moved is not None
        former, moved.email = moved.email, new_address()
        await OneTimeTokenRepository(session).issue(Purpose.UNDO_EMAIL, moved, former, harness.clock())
    assert await number() == 1
    harness.clock.advance(hours=73)
    async with harness.database.reading() as session:
        assert await OneTimeTokenRepository(session).is_remembered(older.id, former, harness.clock())
    assert await number() == 1


async def test_postponed_mail_is_sent_by_the_worker(harness: Harness) -> None:
    harness.clock.freeze()
    user, kind = await harness.user(), MailKind.EMAIL_CHANGE_NOTICE
    for _ in range(10):
        assert await harness.is_written(kind, user, Purpose.UNDO_EMAIL)
    async with harness.database.transaction() as session:
        await session.execute(text("DELETE FROM outbox"))
    token = await harness.put_link(kind, Purpose.UNDO_EMAIL, user)
    with capture_logs() as logs:
        async with ScriptedServer().serving() as server, harness.working(server.plain):
            await until_logged(logs, "mail postponed")
            assert user.email not in repr(logs)
            await harness.counters.until(kind, "sent")
            await eventually(harness.rows, lambda rows: not rows)
    (mail,) = server.mails
    assert token in str(mail.get_body(("plain",)))


async def test_no_link_waits_beyond_its_expiry(harness: Harness) -> None:
    """Who uses up the limit for three days can't have mails sent, and counted, after that."""
    harness.clock.freeze()
    user, kind = await harness.user(), MailKind.EMAIL_CHANGE_NOTICE
    limit, reserved_until = harness.writer.limits.email_change_former, harness.clock() + timedelta(hours=72)
    reserved = Attempts(870, reserved_until - limit.max_delay, reserved_until)
    async with harness.database.transaction() as session:
        await AttemptRepository(session).put({of_mailbox(limit, user.email).hash: (reserved, limit.window)})
    await harness.put_link(kind, Purpose.UNDO_EMAIL, user)
    (row,) = await harness.rows()
    assert await harness.writer.write(row) is None
    harness.clock.advance(minutes=5)
    await harness.put_link(kind, Purpose.UNDO_EMAIL, user)
    with pytest.raises(MailPostponed):
        await harness.writer.write((await harness.rows())[-1])


async def test_news_of_a_change_is_always_sent_to_a_confirmed_address(harness: Harness) -> None:
    """Otherwise a thief could use the limit up first."""
    harness.clock.freeze()
    user = await harness.user(is_confirmed=True)
    changed = MailKind.EMAIL_CHANGED_NOTICE
    assert all([await harness.is_written(changed, user, Purpose.UNDO_EMAIL) for _ in range(12)])
    assert all([await harness.is_written(NOTICE, user) for _ in range(12)])


async def test_changes_of_the_password_do_not_use_up_the_link_to_an_address_that_was_not_confirmed(
    harness: Harness,
) -> None:
    harness.clock.freeze()
    user = await harness.user()
    for _ in range(12):
        await harness.is_written(NOTICE, user)
    assert await harness.is_written(MailKind.EMAIL_CHANGED_NOTICE, user, Purpose.UNDO_EMAIL)


@pytest.mark.parametrize("kind", [MailKind.RESET_PASSWORD, NOTICE])
async def test_mails_to_a_lookalike_keep_none_of_the_owners_back(harness: Harness, kind: MailKind) -> None:
    harness.clock.freeze()
    local, _, domain = new_address().partition("@")
    owner = await harness.user(f"{local}.ss@{domain}")
    other = await harness.user(f"{local}.ß@{domain}")
    for _ in range(12):
        await harness.is_written(kind, other)
    assert await harness.is_written(kind, owner)


async def test_link_stays_valid_if_the_next_mail_is_not_written(harness: Harness) -> None:
    harness.clock.freeze()
    user = await harness.user()
    assert all([await harness.is_written(MailKind.RESET_PASSWORD, user) for _ in range(5)])
    (newest,) = await harness.valid_links(user)
    assert not await harness.is_written(MailKind.RESET_PASSWORD, user)
    assert await harness.valid_links(user) == [newest]


async def test_resent_confirmation_issues_its_link_when_it_is_written(harness: Harness) -> None:
    harness.clock.freeze()
    user = await harness.user()
    assert all([await harness.is_written(MailKind.CONFIRM_EMAIL, user) for _ in range(10)])
    (newest,) = await harness.valid_links(user)
    assert not await harness.is_written(MailKind.CONFIRM_EMAIL, user)
    assert await harness.valid_links(user) == [newest]
    (row, *_) = reversed([each for each in await harness.rows() if each.sealed_token])
    row.attempts = 1
    assert await harness.writer.write(row) is not None, "a retry is the same mail"
    assert await harness.valid_links(user) == [newest]


async def test_resent_confirmation_is_not_due_after_the_confirmation(harness: Harness) -> None:
    confirmed = await harness.user(is_confirmed=True)
    for kind in (MailKind.CONFIRM_EMAIL, MailKind.CONFIRM_NEW_EMAIL):
        assert not await harness.is_written(kind, confirmed)
    assert await harness.valid_links(confirmed) == []


async def test_resent_confirmation_does_not_end_a_change_that_came_after_it(harness: Harness) -> None:
    user = await harness.user()
    await harness.put(MailKind.CONFIRM_EMAIL, user)
    async with harness.database.transaction() as session:
        owner = await UserRepository(session).lock(user.id)
        assert owner is not None
        owner.credential.pending_email = wanted = new_address()
        await OneTimeTokenRepository(session).issue(Purpose.CONFIRM_EMAIL, owner, wanted, harness.clock())
    links = await harness.valid_links(user)
    assert await harness.writer.write((await harness.rows())[-1]) is None
    assert await harness.valid_links(user) == links


async def test_owner_has_a_valid_link_however_often_others_request_one(harness: Harness) -> None:
    harness.clock.freeze()
    user = await harness.user()
    for _ in range(60):
        await harness.is_written(MailKind.RESET_PASSWORD, user)
        harness.clock.advance(minutes=1)
        assert await harness.valid_links(user)


async def test_only_mails_that_are_due_count(harness: Harness) -> None:
    """A request for an address without an account sends nothing, and a retry is the same mail."""
    harness.clock.freeze()
    email = new_address()
    for _ in range(8):
        async with harness.database.transaction() as session:
            await harness.outbox.put(session, MailKind.RESET_PASSWORD, email, client=CLIENT)
        assert await harness.writer.write((await harness.rows())[-1]) is None
    user = await harness.user(email)
    assert await harness.is_written(MailKind.RESET_PASSWORD, user)
    (row,) = [each for each in await harness.rows() if each.sealed_token]
    for _ in range(8):
        assert await harness.writer.write(row) is not None
    assert await harness.is_written(MailKind.RESET_PASSWORD, user)


@pytest.mark.parametrize("outcome", ["refused", "given_up", "failed"])
async def test_dead_mail_keeps_its_reason_but_neither_recipient_nor_token(
    harness: Harness, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, kind = await harness.user(), MailKind.CONFIRM_EMAIL
    token = await harness.put_link(kind, Purpose.CONFIRM_EMAIL, user)
    if outcome == "given_up":
        harness.clock.advance(days=1, seconds=1)
    if outcome == "failed":

        async def write(_row: OutboxMail) -> Mail:
            raise KeyError(f"{user.email} {token}")

        monkeypatch.setattr(MailWriter, "write", lambda _writer, row: write(row))
    with capture_logs() as logs:
        async with (
            ScriptedServer("550 5.1.1 <ada@example.com>: no such user").serving() as server,
            harness.working(server.plain),
        ):
            await harness.counters.until(kind, outcome)
            (row,) = await eventually(harness.rows, lambda rows: rows[0].died_at is not None)
    assert (row.kind, row.user_id, row.recipient, row.sealed_token, row.due_at) == (kind, user.id, None, None, None)
    assert row.reason is not None
    assert row.reason.startswith(f"{outcome}: ")
    for secret in (user.email, token, "no such user"):
        assert secret not in repr(logs) + row.reason
    if outcome == "failed":
        assert re.search(r"KeyError at .*test_outbox\.py:\d+", row.reason)


async def test_error_of_the_database_is_retried(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    user, write, runs = await harness.user(), MailWriter.write, 0

    async def fail_once(writer: MailWriter, row: OutboxMail) -> Mail | None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OperationalError("SELECT", {"email": user.email}, Exception("gone away"))
        if runs == 2:
            raise ServiceUnavailable
        return await write(writer, row)

    monkeypatch.setattr(MailWriter, "write", fail_once)
    await harness.put(NOTICE, user)
    async with ScriptedServer().serving() as server, harness.working(server.plain):
        await harness.counters.until(NOTICE, "sent")
    assert (runs, len(server.mails)) == (3, 1)


async def test_stray_cancellation_is_retried(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    user, write, runs = await harness.user(), MailWriter.write, 0

    async def cancelled_once(writer: MailWriter, row: OutboxMail) -> Mail | None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise asyncio.CancelledError
        return await write(writer, row)

    monkeypatch.setattr(MailWriter, "write", cancelled_once)
    await harness.put(NOTICE, user)
    async with ScriptedServer().serving() as server, harness.working(server.plain):
        await harness.counters.until(NOTICE, "sent")
    assert runs == 2


async def test_slow_recipient_does_not_delay_others(harness: Harness) -> None:
    one, other = await harness.user(), await harness.user()
    slow = Backoff(initial=60.0, maximum=60.0)
    async with (
        ScriptedServer("451 greylisted").serving() as server,
        harness.working(server.plain, concurrency=1, backoff=slow),
    ):
        await harness.put(NOTICE, one)
        await harness.put(NOTICE, other)
        await harness.counters.until(NOTICE, "sent")
        await eventually(harness.rows, lambda rows: len(rows) == 1)
    assert len(server.mails) == 1


async def test_logs_identify_mails_without_personal_data(harness: Harness) -> None:
    user = await harness.user()
    await harness.put(NOTICE, user)
    (row,) = await harness.rows()
    with capture_logs() as logs:
        async with ScriptedServer().serving() as server, harness.working(server.plain):
            await until_logged(logs, "mail sent")
    assert logs[-1] == {
        "event": "mail sent",
        "log_level": "info",
        "kind": "password_changed_notice",
        "failures": 0,
        "message_id": f"<{row.id}@tandem.example>",
        "user_id": user.id,
        "reason": None,
    }


async def test_workers_share_the_mails_and_send_each_once(harness: Harness, outbox_settings: Settings) -> None:
    user, count = await harness.user(is_confirmed=True), 40
    for _ in range(count):
        await harness.put(NOTICE, user)
    async with (
        ScriptedServer().serving() as server,
        database_of(outbox_settings) as database,
        harness.working(server.plain),
        Harness(outbox_settings, database).working(server.plain),
    ):
        await eventually(harness.rows, lambda rows: not rows)
    assert len({mail["Message-ID"] for mail in server.mails}) == len(server.mails) == count


async def test_worker_skips_rows_that_another_holds(harness: Harness, outbox_settings: Settings) -> None:
    held, free = await harness.user(), await harness.user()
    await harness.put(NOTICE, held)
    (row,) = await harness.rows()
    engine = create_engine(outbox_settings.mysql_url.get_secret_value())
    async with engine.begin() as other, ScriptedServer().serving() as server:
        await other.execute(text("SELECT * FROM outbox WHERE id = :id FOR UPDATE"), {"id": row.id})
        await harness.put(NOTICE, free)
        async with harness.working(server.plain):
            await harness.counters.until(NOTICE, "sent")
        assert [mail["To"] for mail in server.mails] == [free.email]
    await engine.dispose()


async def test_mail_of_a_worker_that_hung_is_sent_by_another(harness: Harness) -> None:
    user = await harness.user()
    await harness.put(NOTICE, user)
    (row,) = await harness.rows()
    connected = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with harness.working(dead_server(hanging.sockets[0].getsockname()[1]), claim_seconds=0.5):
        await connected.wait()
        assert await harness.rows(), "the claimed row stays"
    async with ScriptedServer().serving() as server, harness.working(server.plain):
        await harness.counters.until(NOTICE, "sent")
    hanging.close()
    assert [mail["Message-ID"] for mail in server.mails] == [f"<{row.id}@tandem.example>"]


async def test_mail_survives_a_kill_between_the_commit_and_the_delivery(
    empty_schema: str, stack: Stack, sink: Sink, new_form: NewForm
) -> None:
    form = new_form() | {"email": new_address()}
    unreachable = {"AUTH_SMTP_URL": f"smtp://127.0.0.1:{free_port()}"}
    async with running_replicas(1, stack, empty_schema, **unreachable) as (victim,):
        assert (await victim.client.post("/v1/register", json=form)).status_code == 201
        await victim.end(signal.SIGKILL)
    assert await sink.mails(form["email"]) == []
    rows = create_engine(empty_schema)

    async def left() -> int:
        async with rows.connect() as connection:
            return int(await connection.scalar(text("SELECT COUNT(*) FROM outbox")) or 0)

    assert await left() == 1
    async with running_replicas(2, stack, empty_schema):
        mail = await sink.mail(form["email"])
        await eventually(left, lambda count: count == 0)
    await rows.dispose()
    assert mail["Subject"] == "Tandem: confirm your email address"
    assert len(await sink.mails(form["email"])) == 1
