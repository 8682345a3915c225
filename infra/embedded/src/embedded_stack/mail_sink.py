"""SMTP in, JSON out: a mail sink for trying things, with the two calls of Mailpit's API that reading a mail takes.

python -m embedded_stack.mail_sink SMTP_PORT HTTP_PORT
"""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import uuid4

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, HTTPException

LOOPBACK = "127.0.0.1"
MAX_MAILS = 500


class Mailbox:
    """The newest `MAX_MAILS` mails, newest first, in memory."""

    def __init__(self) -> None:
        self._mails: deque[tuple[str, list[str], EmailMessage]] = deque(maxlen=MAX_MAILS)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd's hook for a mail that has arrived."""
        content = envelope.original_content or b""
        message = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        self._mails.appendleft((uuid4().hex, list(envelope.rcpt_tos), message))
        return "250 Message accepted"

    def summaries(self) -> list[dict[str, object]]:
        return [
            {"ID": mail_id, "From": str(mail["From"]), "To": to, "Subject": str(mail["Subject"])}
            for mail_id, to, mail in self._mails
        ]

    def find(self, wanted: str) -> dict[str, object] | None:
        """A mail with its text and HTML; `latest` is the newest one."""
        for mail_id, to, mail in self._mails:
            if wanted in (mail_id, "latest"):
                bodies = {kind: mail.get_body((kind,)) for kind in ("plain", "html")}
                text, html = (body.get_content() if body else "" for body in bodies.values())
                return {"ID": mail_id, "To": to, "Subject": str(mail["Subject"]), "Text": text, "HTML": html}
        return None


def create_app(mailbox: Mailbox, smtp_port: int) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(mailbox, enable_SMTPUTF8=True), LOOPBACK, smtp_port)
        async with server:
            yield

    app = FastAPI(title="Mail sink", lifespan=lifespan)

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/api/v1/messages")
    async def messages() -> dict[str, object]:
        summaries = mailbox.summaries()
        return {"total": len(summaries), "messages": summaries}

    @app.get("/api/v1/message/{mail_id}")
    async def message(mail_id: str) -> dict[str, object]:
        if (found := mailbox.find(mail_id)) is None:
            raise HTTPException(404)
        return found

    return app


if __name__ == "__main__":
    smtp, http = map(int, sys.argv[1:])
    uvicorn.run(create_app(Mailbox(), smtp), host=LOOPBACK, port=http, access_log=False)
