"""The text and the headers of mails."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.mail.smtp import SmtpServer
from support.mails import BASE, EXPIRES, TOKEN, Sink, new_address, text_of

KINDS: dict[MailKind, Callable[[MailComposer, str], Mail]] = {
    MailKind.CONFIRM_EMAIL: lambda by, to: by.confirm_email(to, "Ada", token=TOKEN, expires=EXPIRES),
    MailKind.CONFIRM_NEW_EMAIL: lambda by, to: by.confirm_new_email(to, "Ada", token=TOKEN, expires=EXPIRES),
    MailKind.EMAIL_CHANGE_NOTICE: lambda by, to: by.email_change_notice(to, "Ada", when=EXPIRES, undo=(TOKEN, EXPIRES)),
    MailKind.EMAIL_CHANGED_NOTICE: lambda by, to: by.email_changed_notice(
        to, "Ada", when=EXPIRES, undo=(TOKEN, EXPIRES)
    ),
    MailKind.EMAIL_RESTORED_NOTICE: lambda by, to: by.email_restored_notice(to, "Ada", when=EXPIRES),
    MailKind.CHANGE_TO_TAKEN_EMAIL: lambda by, to: by.change_to_taken_email(to, "Ada"),
    MailKind.RESET_PASSWORD: lambda by, to: by.reset_password(to, "Ada", token=TOKEN, minutes=10, expires=EXPIRES),
    MailKind.PASSWORD_CHANGED_NOTICE: lambda by, to: by.password_changed_notice(to, "Ada", when=EXPIRES),
    MailKind.REGISTRATION_WITH_TAKEN_EMAIL: lambda by, to: by.registration_with_taken_email(to, "Ada"),
    MailKind.REGISTRATION_WITH_HELD_EMAIL: lambda by, to: by.registration_with_held_email(to, until=EXPIRES),
}
SAYS = {
    MailKind.CONFIRM_EMAIL: [f"{BASE}/confirm-email#token={TOKEN}", "31 January 2040, 12:00 UTC"],
    MailKind.CONFIRM_NEW_EMAIL: [f"{BASE}/confirm-email#token={TOKEN}", "31 January 2040, 12:00 UTC"],
    MailKind.EMAIL_CHANGE_NOTICE: [f"{BASE}/undo-email#token={TOKEN}", "31 January 2040, 12:00 UTC"],
    MailKind.EMAIL_CHANGED_NOTICE: [f"{BASE}/undo-email#token={TOKEN}", "31 January 2040, 12:00 UTC"],
    MailKind.EMAIL_RESTORED_NOTICE: ["31 January 2040, 12:00 UTC"],
    MailKind.CHANGE_TO_TAKEN_EMAIL: [f"{BASE}/login"],
    MailKind.RESET_PASSWORD: [f"{BASE}/reset-password#token={TOKEN}", "10 minutes"],
    MailKind.PASSWORD_CHANGED_NOTICE: [f"{BASE}/forgot-password", "31 January 2040, 12:00 UTC"],
    MailKind.REGISTRATION_WITH_TAKEN_EMAIL: [f"{BASE}/login", f"{BASE}/forgot-password"],
    MailKind.REGISTRATION_WITH_HELD_EMAIL: [f"{BASE}/register", "31 January 2040, 12:00 UTC"],
}


@pytest.mark.parametrize("kind", list(MailKind))
async def test_every_kind_of_mail_arrives_as_text_and_html(
    kind: MailKind, composer: MailComposer, server: SmtpServer, sink: Sink
) -> None:
    to = new_address()
    await server.deliver(KINDS[kind](composer, to).message)
    mail = await sink.mail(to)

    assert [each["Address"] for each in mail["To"]] == [to]
    assert mail["From"] == {"Name": "Tandem", "Address": "no-reply@tandem.example"}
    assert mail["Subject"].startswith("Tandem: ")
    assert mail["MessageID"].endswith("@tandem.example")
    # A former address gets no name, which may be an intruder's.
    if kind is not MailKind.REGISTRATION_WITH_HELD_EMAIL:
        assert mail["Text"].startswith("Hello Ada,")
        assert "Hello <bdi>Ada</bdi>," in mail["HTML"]
    for part in SAYS[kind]:
        assert part in mail["Text"]
        assert part in mail["HTML"]
    assert "<img" not in mail["HTML"]


def test_mail_contains_the_token_on_its_own_line(composer: MailComposer) -> None:
    for kind in [kind for kind, parts in SAYS.items() if any(TOKEN in part for part in parts)]:
        assert TOKEN in {line.strip() for line in text_of(KINDS[kind](composer, new_address())).splitlines()}


def test_notices_without_a_link_say_what_to_do(composer: MailComposer) -> None:
    requested = text_of(composer.email_change_notice(new_address(), "Ada", when=EXPIRES, undo=None))
    changed = text_of(composer.email_changed_notice(new_address(), "Ada", when=EXPIRES, undo=None))
    assert f"{BASE}/forgot-password" in requested
    for text in (requested, changed):
        assert "the address" in text
        assert "before it has got" in " ".join(text.split())
        assert "undo-email" not in text


def test_mails_have_a_date_and_are_marked_automatic(composer: MailComposer) -> None:
    mail = composer.reset_password(new_address(), "Ada", token=TOKEN, minutes=10, expires=EXPIRES)
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert abs(mail.message["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    again = mail.identified_by("019ac2e4", EXPIRES)
    assert (again.message_id, again.message["Date"].datetime) == ("<019ac2e4@tandem.example>", EXPIRES)


def test_token_is_percent_encoded_in_links(composer: MailComposer) -> None:
    mail = composer.confirm_email(new_address(), "Ada", token="a+b/c=&d", expires=EXPIRES)
    assert "token=a%2Bb%2Fc%3D%26d" in text_of(mail)


@pytest.mark.parametrize(
    ("name", "greeting"),
    [
        ("Ada\r\nBcc: everyone@example.org\r\n\r\nBuy", "Hello,"),
        ("Ada\r\nSubject: Buy", "Hello Ada Subject: Buy,"),
        ('Ada "the Countess", <Lovelace>', 'Hello Ada "the Countess", <Lovelace>,'),
        ("<script>alert(1)<!--", "Hello <script>alert(1)<!--,"),
        ("{{ 7 * 7 }}{% raw %}", "Hello {{ 7 * 7 }}{% raw %},"),
        ("Ωmega 漢字 🦆", "Hello Ωmega 漢字 🦆,"),
        ("עדה לאבלייס", "Hello עדה לאבלייס,"),
        ("Ada\u202eevil\u2066", "Hello Ada evil,"),
        ("Ada\x00\u2028Lovelace\ud800", "Hello Ada Lovelace,"),
        ("J.R.R. Tolkien Jr.", "Hello J.R.R. Tolkien Jr.,"),
        ("win at evil.example", "Hello,"),
        ("win at evil\u3002example", "Hello,"),
        ("https://evil", "Hello,"),
        (" \t ", "Hello,"),
    ],
)
async def test_name_can_not_inject_headers_or_advertisements(
    name: str, greeting: str, composer: MailComposer, server: SmtpServer, sink: Sink
) -> None:
    to = new_address()
    await server.deliver(composer.registration_with_taken_email(to, name).message)
    mail = await sink.mail(to)

    assert mail["Text"].splitlines()[0] == greeting
    assert [each["Address"] for each in mail["To"]] == [to]
    assert (mail["Cc"], mail["Bcc"]) == ([], [])
    assert mail["Subject"] == "Tandem: you already have an account"
    assert "<script" not in mail["HTML"]
    assert "<Lovelace" not in mail["HTML"]


async def test_mails_to_international_addresses_arrive(composer: MailComposer, server: SmtpServer, sink: Sink) -> None:
    unique = uuid4().hex[:12]
    for address in (f"ada.{unique}@straße.example", f"grüße.{unique}@bücher.example"):
        await server.deliver(composer.registration_with_taken_email(address, "Ada").message)

    assert (await sink.mail(f"ada.{unique}"))["To"][0]["Address"] == f"ada.{unique}@xn--strae-oqa.example"
    assert (await sink.mail(f"grüße.{unique}"))["Text"].startswith("Hello Ada,")
