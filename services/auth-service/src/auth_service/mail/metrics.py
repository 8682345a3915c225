"""Metrics of mail."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class MailMetrics:
    """`auth_mails_total` by kind and outcome (`Outcome` in `mailer`), and `auth_mails_waiting`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.mails = Counter("auth_mails", "Mails, by how they ended.", ["kind", "outcome"], registry=registry)
        self.waiting = Gauge("auth_mails_waiting", "Mails that are being made, sent or tried again.", registry=registry)
