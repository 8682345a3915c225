"""All metrics of auth-service, except those of HTTP, which service_kit defines."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

LoginOutcome = Literal["succeeded", "failed", "unverified", "throttled"]
RefreshOutcome = Literal["renewed", "invalid", "reused", "throttled"]


class AuthMetrics:
    """All outcomes start at 0: Prometheus sees no increase in a counter that starts at 1."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._logins = Counter(
            "auth_logins",
            "Logins: succeeded, failed, unverified (correct password, unconfirmed address), throttled.",
            ["outcome"],
            registry=registry,
        )
        self._refreshes = Counter(
            "auth_refreshes",
            "Refresh tokens presented: renewed, invalid, reused (which revokes the family), throttled.",
            ["outcome"],
            registry=registry,
        )
        self.registrations = Counter("auth_registrations", "Accounts created.", registry=registry)
        self.hashes_queued = Gauge(
            "auth_password_hashes_queued", "Passwords that are being hashed or wait for a thread.", registry=registry
        )
        self.signing_key_age = Gauge(
            "auth_signing_key_age_seconds", "Time since the present key began to sign.", registry=registry
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
    """Outcomes are those of `outbox.worker.MailOutcome`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.mails = Counter(
            "auth_mails",
            "Mails by kind and outcome: sent, not_due (no mail was needed, or its mailbox had got too many), refused "
            "(permanently, by the mail server), given_up (retried until the deadline), failed (unexpected error).",
            ["kind", "outcome"],
            registry=registry,
        )
        self.waiting = Gauge(
            "auth_mails_waiting", "Mails in the outbox that are not sent yet, of all replicas.", registry=registry
        )
