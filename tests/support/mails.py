"""Mails of a test: counters, the stack's mail sink, and mail servers with scripted replies."""

import asyncio
import contextlib
import email
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import httpx
from aiosmtpd.smtp import SMTP, Envelope, Session
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict

from auth_service.mail.messages import Mail, MailKind
from auth_service.mail.smtp import SmtpServer
from auth_service.metrics import MailMetrics
from service_kit.retry import Backoff
from support.polling import eventually

TOKEN = "s3cret-T0ken_of-f0rty_three-characters-1234"
EXPIRES = datetime(2040, 1, 31, 12, 0, tzinfo=UTC)
FAST = Backoff(initial=0.02, maximum=0.1)
BASE = "https://tandem.example"


class MailCounters:
    """The counters of a worker that sends mails."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = MailMetrics(self.registry)

    def counted(self, kind: MailKind, outcome: str) -> float:
        return self.registry.get_sample_value("auth_mails_total", {"kind": kind, "outcome": outcome}) or 0.0

    async def until(self, kind: MailKind, outcome: str, count: int = 1) -> None:
        async def is_counted() -> bool:
            return self.counted(kind, outcome) == count

        await eventually(is_counted)


class Sink:
    """The stack's mail sink."""

    def __init__(self, address: str) -> None:
        self._client = httpx.AsyncClient(base_url=address, timeout=20)

    async def mails(self, to: str) -> list[dict[str, Any]]:
        answer = await self._client.get("/api/v1/search", params={"query": f"to:{to}"})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["messages"]
        return [(await self._client.get(f"/api/v1/message/{each['ID']}")).json() for each in found]

    async def mail(self, to: str) -> dict[str, Any]:
        """Wait for the one mail to this address."""
        (mail,) = await eventually(lambda: self.mails(to))
        return mail

    async def close(self) -> None:
        await self._client.aclose()


async def until_logged(logs: list[EventDict], event: str) -> None:
    async def is_logged() -> bool:
        return any(line["event"] == event for line in logs)

    await eventually(is_logged)


def new_address() -> str:
    return f"ada.{uuid4().hex[:12]}@example.com"


def text_of(mail: Mail) -> str:
    part = mail.message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


class ScriptedServer:
    """A mail server that sends each of `replies` once, and then accepts every mail."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.mails: list[EmailMessage] = []
        self.logins: list[Any] = []
        self.port = 0

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd's hook for a received mail."""
        if self.replies:
            return self.replies.pop(0)
        content = envelope.original_content or b""
        self.mails.append(email.message_from_bytes(content, _class=EmailMessage, policy=policy.default))
        self.logins.append((session.ssl is not None, session.auth_data))
        return "250 OK"

    @contextlib.asynccontextmanager
    async def serving(self, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator["ScriptedServer"]:
        """With `tls` the connection begins with TLS. STARTTLS is one of aiosmtpd's `options`."""
        loop = asyncio.get_running_loop()
        serving = await loop.create_server(lambda: SMTP(self, **options), "127.0.0.1", 0, ssl=tls)
        self.port = serving.sockets[0].getsockname()[1]
        async with serving:
            yield self

    @property
    def plain(self) -> SmtpServer:
        return SmtpServer("127.0.0.1", self.port)
