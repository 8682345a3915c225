"""A mail composer, and the stack's mail sink."""

from collections.abc import AsyncIterator

import pytest

from auth_service.mail.links import Links
from auth_service.mail.messages import MailComposer
from auth_service.mail.settings import MailSettings
from auth_service.mail.smtp import SmtpServer
from embedded_stack import Stack
from support.mails import BASE, Sink


@pytest.fixture
def composer() -> MailComposer:
    return MailComposer(MailSettings(port=1).auth_mail_from, Links(BASE))


@pytest.fixture
def server(stack: Stack) -> SmtpServer:
    stack.start("mail")
    return SmtpServer.at(stack.addresses["SMTP_URL"])


@pytest.fixture
async def sink(stack: Stack, server: SmtpServer) -> AsyncIterator[Sink]:
    sink = Sink(stack.addresses["MAIL_URL"])
    yield sink
    await sink.close()
