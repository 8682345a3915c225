"""The mail sink, over SMTP and HTTP."""

import smtplib
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from uuid import uuid4

import httpx
import pytest

from embedded_stack import Stack

Send = Callable[..., str]


@pytest.fixture(scope="module")
def sink(stack: Stack) -> Iterator[httpx.Client]:
    stack.start("mail")
    with httpx.Client(base_url=stack.addresses["MAIL_URL"]) as client:
        yield client


@pytest.fixture
def send(stack: Stack, sink: httpx.Client) -> Send:
    def send(subject: str = "Grüße", text: str = "the text", page: str = "<p>the page</p>", also: str = "") -> str:
        """Send a mail to a new address and return the address."""
        to = f"ada.{uuid4().hex[:12]}@example.com"
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "Tandem <tandem@example.com>", f"Ada <{to}>", subject
        mail["Message-ID"] = f"<{to}>"
        mail.set_content(text)
        mail.add_alternative(page, subtype="html")
        host, port = stack.addresses["SMTP_URL"].removeprefix("smtp://").split(":")
        with smtplib.SMTP(host, int(port)) as smtp:
            smtp.send_message(mail, to_addrs=[to, also] if also else [to])
        return to

    return send


def test_mail_can_be_read(sink: httpx.Client, send: Send) -> None:
    to = send()
    mail = sink.get("/api/v1/message/latest").json()
    assert mail["Subject"] == "Grüße"
    assert mail["From"] == {"Name": "Tandem", "Address": "tandem@example.com"}
    assert mail["To"] == [{"Name": "Ada", "Address": to}]
    assert mail["MessageID"] == to
    assert "the text" in mail["Text"]
    assert "the page" in mail["HTML"]
    assert sink.get(f"/api/v1/message/{mail['ID']}").json() == mail
    assert sink.get(f"/view/{mail['ID']}.txt").text.strip() == "the text"
    assert sink.get("/api/v1/message/nonsense").status_code == 404


def test_mails_are_listed_newest_first_in_pages(sink: httpx.Client, send: Send) -> None:
    first, second = send(), send()
    listed = sink.get("/api/v1/messages").json()
    assert [mail["To"][0]["Address"] for mail in listed["messages"][:2]] == [second, first]
    assert listed["messages"][0]["Snippet"] == "the text"
    assert listed["total"] == listed["messages_count"] >= 2
    one = sink.get("/api/v1/messages", params={"start": 1, "limit": 1}).json()
    assert [mail["To"][0]["Address"] for mail in one["messages"]] == [first]
    assert (one["start"], one["count"], one["total"]) == (1, 1, listed["total"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("to:{to}", True),
        ("TO:{to} subject:grüße", True),
        ('to:{to} subject:"choose a"', False),
        ("to:{to} from:tandem@", True),
        ("{to} text", True),
        ("{to} nonsense", False),
        ("from:{to}", False),
    ],
)
def test_mails_are_found_by_their_content(sink: httpx.Client, send: Send, query: str, found: bool) -> None:
    to = send()
    answer = sink.get("/api/v1/search", params={"query": query.format(to=to)}).json()
    assert [mail["MessageID"] for mail in answer["messages"]] == ([to] if found else [])


def test_recipient_without_a_header_is_shown_and_found(sink: httpx.Client, send: Send) -> None:
    hidden = f"{uuid4().hex}@example.com"
    send(also=hidden)
    (mail,) = sink.get("/api/v1/search", params={"query": f"to:{hidden}"}).json()["messages"]
    assert mail["Bcc"] == [{"Name": "", "Address": hidden}]


def test_one_mail_and_all_mails_can_be_deleted(sink: httpx.Client, send: Send) -> None:
    kept, unwanted = send(), send()
    (mail,) = sink.get("/api/v1/search", params={"query": f"to:{unwanted}"}).json()["messages"]
    assert sink.request("DELETE", "/api/v1/messages", json={"IDs": [mail["ID"]]}).text == "ok"
    assert sink.get("/api/v1/search", params={"query": f"to:{unwanted}"}).json()["messages"] == []
    assert len(sink.get("/api/v1/search", params={"query": f"to:{kept}"}).json()["messages"]) == 1
    assert sink.delete("/api/v1/messages").text == "ok"
    assert sink.get("/api/v1/messages").json()["total"] == 0


def test_html_page_has_links_and_no_scripts_of_mails(sink: httpx.Client, send: Send) -> None:
    to = send("<b>bold</b>", "open <script> https://tandem.example/#/x?a=1&b=2 now", "<script>alert(1)</script>")
    page = sink.get("/", params={"query": f"to:{to}"}).text
    assert '<a href="https://tandem.example/#/x?a=1&amp;b=2">' in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<script>" not in page
    mail_id = sink.get("/api/v1/message/latest").json()["ID"]
    assert sink.get(f"/view/{mail_id}.html").headers["Content-Security-Policy"].startswith("sandbox ")
