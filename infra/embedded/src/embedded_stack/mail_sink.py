"""A mail sink for development: it receives SMTP and offers the reading part of Mailpit's API, and HTML pages.

python -m embedded_stack.mail_sink SMTP_PORT HTTP_PORT
"""

import asyncio
import contextlib
import html
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from typing import Annotated
from uuid import uuid4

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel

LOOPBACK = "127.0.0.1"
MAX_MAILS = 500
_SNIPPET_LENGTH = 250

# The HTML of a mail is untrusted: it is displayed with working links, and without scripts.
_UNTRUSTED = {"Content-Security-Policy": "sandbox allow-popups allow-top-navigation-by-user-activation"}


@dataclass(frozen=True)
class ReceivedMail:
    """A received mail with the recipients of its envelope."""

    content: bytes
    recipients: Sequence[str]
    mail_id: str = field(default_factory=lambda: uuid4().hex)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, _class=EmailMessage, policy=policy.default)

    # The parser parses a header each time it is read, and a search reads those of all mails.
    @cached_property
    def subject(self) -> str:
        return str(self.message["Subject"] or "")

    @cached_property
    def sender(self) -> str:
        return str(self.message["From"])

    @cached_property
    def text(self) -> str:
        return self.body("plain")

    def body(self, kind: str) -> str:
        """The `plain` or the `html` text, or an empty string."""
        part = self.message.get_body((kind,))
        return str(part.get_content()) if part else ""

    def addresses(self, header: str) -> list[dict[str, str]]:
        found = self.message[header].addresses if header in self.message else ()
        return [{"Name": _unicode(each.display_name), "Address": _unicode(each.addr_spec)} for each in found]

    def summary(self) -> dict[str, object]:
        """Mailpit's `MessageSummary`."""
        named = {each["Address"] for each in [*self.addresses("To"), *self.addresses("Cc")]}
        return {
            "ID": self.mail_id,
            "MessageID": str(self.message["Message-ID"] or "").strip("<>"),
            "From": next(iter(self.addresses("From")), None),
            "To": self.addresses("To"),
            "Cc": self.addresses("Cc"),
            "Bcc": [{"Name": "", "Address": each} for each in self.recipients if each not in named],
            "Subject": self.subject,
            "Created": self.received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "Size": len(self.content),
            "Snippet": " ".join(self.text.split())[:_SNIPPET_LENGTH],
        }

    def whole(self) -> dict[str, object]:
        """Mailpit's `Message`."""
        return {**self.summary(), "Text": self.text, "HTML": self.body("html")}

    def matches(self, query: str) -> bool:
        """Mailpit's search with `to:`, `from:`, `subject:` and plain words. All terms must match."""
        terms = re.findall(r'(?:(to|from|subject):)?(?:"([^"]*)"|(\S+))', query, re.IGNORECASE)
        return all((quoted or word).casefold() in self._place(where).casefold() for where, quoted, word in terms)

    def _place(self, name: str) -> str:
        match name.lower():
            case "to":
                return " ".join(self.recipients)
            case "from":
                return self.sender
            case "subject":
                return self.subject
            case _:
                return " ".join([*self.recipients, self.sender, self.subject, self.text])


def _unicode(part: str) -> str:
    """Decode a part of an address. The parser keeps UTF-8 (RFC 6531) as raw bytes."""
    return part.encode(errors="surrogateescape").decode(errors="replace")


class Mailbox:
    """The newest `MAX_MAILS` mails, newest first, in memory."""

    def __init__(self) -> None:
        self._mails: deque[ReceivedMail] = deque(maxlen=MAX_MAILS)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd calls this for each mail."""
        self._mails.appendleft(ReceivedMail(envelope.original_content or b"", list(envelope.rcpt_tos)))
        return "250 Message accepted"

    def __len__(self) -> int:
        return len(self._mails)

    def search(self, query: str = "") -> list[ReceivedMail]:
        return [mail for mail in self._mails if mail.matches(query)]

    def find(self, wanted: str) -> ReceivedMail:
        """The mail with this id, or the newest one for `latest`. Raises `HTTPException` 404."""
        for mail in self._mails:
            if wanted in (mail.mail_id, "latest"):
                return mail
        raise HTTPException(404)

    def delete(self, mail_ids: Iterable[str]) -> None:
        """Delete these mails, or all if `mail_ids` is empty."""
        unwanted = set(mail_ids)
        kept = [mail for mail in self._mails if unwanted and mail.mail_id not in unwanted]
        self._mails = deque(kept, MAX_MAILS)


class Deletion(BaseModel):
    IDs: list[str] = []


Start = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=0)]


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
    async def messages(start: Start = 0, limit: Limit = 50) -> dict[str, object]:
        return page(mailbox, mailbox.search(), start, limit)

    @app.get("/api/v1/search")
    async def search(query: str, start: Start = 0, limit: Limit = 50) -> dict[str, object]:
        return page(mailbox, mailbox.search(query), start, limit)

    @app.get("/api/v1/message/{mail_id}")
    async def message(mail_id: str) -> dict[str, object]:
        return mailbox.find(mail_id).whole()

    @app.delete("/api/v1/messages", response_class=PlainTextResponse)
    async def delete(deletion: Deletion | None = None) -> str:
        mailbox.delete(deletion.IDs if deletion else [])
        return "ok"

    @app.get("/", response_class=HTMLResponse)
    async def overview(query: str = "") -> str:
        return overview_page(mailbox.search(query), query)

    @app.get("/view/{mail_id}.txt", response_class=PlainTextResponse)
    async def view_text(mail_id: str) -> str:
        return mailbox.find(mail_id).text

    @app.get("/view/{mail_id}.html")
    async def view_html(mail_id: str) -> HTMLResponse:
        return HTMLResponse(mailbox.find(mail_id).body("html"), headers=_UNTRUSTED)

    return app


def page(mailbox: Mailbox, found: Sequence[ReceivedMail], start: int, limit: int) -> dict[str, object]:
    """Mailpit's `MessagesSummary`: `total` counts all mails, `messages_count` those found."""
    shown = [mail.summary() for mail in found[start : start + limit]]
    return {
        "total": len(mailbox),
        "messages_count": len(found),
        "count": len(shown),
        "start": start,
        "messages": shown,
    }


def overview_page(mails: Sequence[ReceivedMail], query: str) -> str:
    """An HTML page with the newest mails and their texts, with links."""
    shown = "".join(
        f"<article><h2>{html.escape(mail.subject)}</h2>"
        f"<p>to {html.escape(', '.join(mail.recipients))}, {mail.received_at:%H:%M:%S} UTC, "
        f'as <a href="/view/{mail.mail_id}.html">HTML</a>, <a href="/view/{mail.mail_id}.txt">text</a></p>'
        f"<pre>{linked(mail.text)}</pre></article>"
        for mail in mails[:50]
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Mails</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ margin: 2em auto; max-width: 50em; padding: 0 1em }}
article {{ border-top: 1px solid #8888 }}
h2 {{ font-size: 1.1em; margin-bottom: 0 }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere }}
</style>
<h1>Mails</h1>
<form><input name="query" value="{html.escape(query)}" placeholder="to:ada@example.com" aria-label="Search">
<button>Search</button></form>
<p>Mails that Tandem sent since its start, newest first.</p>
{shown or "<p>No mails yet.</p>"}
</html>
"""


def linked(text: str) -> str:
    """The text as HTML, with links."""
    return re.sub(r"https?://[^\s<>\"]+", r'<a href="\g<0>">\g<0></a>', html.escape(text, quote=False))


if __name__ == "__main__":
    smtp, http = map(int, sys.argv[1:])
    uvicorn.run(create_app(Mailbox(), smtp), host=LOOPBACK, port=http, access_log=False)
