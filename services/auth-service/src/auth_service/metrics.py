"""auth-service's own metrics, all of them; those of HTTP are service_kit's."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

LoginOutcome = Literal["succeeded", "failed", "unverified", "throttled"]
RefreshOutcome = Literal["renewed", "invalid", "reused"]


class AuthMetrics:
    """Outcomes are there from the start, with 0: a counter that begins at 1 has not increased for Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._logins = Counter(
            "auth_logins",
            "Attempts to log in: succeeded, failed, unverified (right, but the address is not confirmed), throttled.",
            ["outcome"],
            registry=registry,
        )
        self._refreshes = Counter(
            "auth_refreshes",
            "Refresh tokens presented: renewed, invalid, reused (which revokes the family).",
            ["outcome"],
            registry=registry,
        )
        self.registrations = Counter("auth_registrations", "Accounts opened.", registry=registry)
        self.hashes_queued = Gauge(
            "auth_password_hashes_queued", "Passwords that wait for a thread or are being hashed.", registry=registry
        )
        self.signing_key_age = Gauge(
            "auth_signing_key_age_seconds", "How long the key that signs has been signing.", registry=registry
        )
        for outcome in get_args(LoginOutcome):
            self._logins.labels(outcome)
        for outcome in get_args(RefreshOutcome):
            self._refreshes.labels(outcome)

    def count_login(self, outcome: LoginOutcome) -> None:
        self._logins.labels(outcome).inc()

    def count_refresh(self, outcome: RefreshOutcome) -> None:
        self._refreshes.labels(outcome).inc()


class MailMetrics:
    """Outcomes are those of `mail.mailer`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.mails = Counter(
            "auth_mails",
            "Mails by kind and by how they ended: sent, not_due (there was nothing to send after all), refused (by the "
            "mail server, for good), given_up (tried until the deadline), failed (could not be made), dropped (the "
            "process was stopped), turned_away (too many were waiting).",
            ["kind", "outcome"],
            registry=registry,
        )
        self.waiting = Gauge("auth_mails_waiting", "Mails that are being made, sent or tried again.", registry=registry)
