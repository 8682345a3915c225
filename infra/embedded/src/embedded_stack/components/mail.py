"""The local mail sink: it accepts every mail of the services and shows it over HTTP."""

import sys

from embedded_stack.components.base import Component, responds_ok
from embedded_stack.process import Command


class Mail(Component):
    name = "mail"
    ports = ("mail-http", "mail-smtp")
    grace = 5

    def command(self) -> Command:
        ports = [str(self.environment.port(port)) for port in ("mail-smtp", "mail-http")]
        return Command([sys.executable, "-m", "embedded_stack.mail_sink", *ports], self.environment.base)

    def is_ready(self) -> bool:
        return responds_ok(f"{self.environment.addresses['MAIL_URL']}/readyz")
