"""Stores mails in the transaction of the action that causes them."""

import asyncio
from dataclasses import asdict, dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.client_info import ClientInfo
from auth_service.database import Clock, after_commit, new_id
from auth_service.keys.encryption import KeyCipher
from auth_service.mail.messages import MailKind
from auth_service.outbox.models import DEADLINES
from auth_service.outbox.repository import OutboxRepository
from auth_service.users.models import User


@dataclass(frozen=True)
class Outbox:
    """`filled` is set after each commit of a mail, so that this replica's worker sends it immediately."""

    cipher: KeyCipher
    clock: Clock
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(
        self,
        session: AsyncSession,
        kind: MailKind,
        to: str,
        *,
        user: User | None = None,
        token: str | None = None,
        client: ClientInfo | None = None,
        is_confirmed: bool = False,
    ) -> None:
        """Store a mail, which is written and sent after the commit.

        `user` is the account it is about, if known: the mail is deleted with it. `token` is the token of its link.
        `client` is the one that the audit trail names. `is_confirmed`: the account has confirmed this address.
        """
        mail_id, now = new_id(), self.clock()
        await OutboxRepository(session).add(
            id=mail_id,
            kind=kind,
            user_id=user.id if user else None,
            recipient=to,
            sealed_token=self.seal(mail_id, token) if token else None,
            client=asdict(client) if client else None,
            is_confirmed=is_confirmed,
            created_at=now,
            expires_at=now + DEADLINES[kind],
        )
        after_commit(session, self.filled.set)

    def seal(self, mail_id: str, token: str) -> bytes:
        """Encrypt a token for the row of this mail. No token is in clear text in the database."""
        return self.cipher.encrypt(token.encode(), _bound_to(mail_id))

    def unseal(self, mail_id: str, sealed_token: bytes) -> str:
        """Raises `WrongSecret`."""
        return self.cipher.decrypt(sealed_token, _bound_to(mail_id)).decode()


def _bound_to(mail_id: str) -> str:
    return f"outbox {mail_id}"
