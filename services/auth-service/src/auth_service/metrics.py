"""auth-service's own metrics; those of HTTP are service_kit's."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class AuthMetrics:
    """- `auth_logins_total{outcome}`: succeeded, failed, unverified, throttled
    - `auth_refreshes_total{outcome}`: renewed, invalid, reused
    - `auth_registrations_total`: accounts opened
    - `auth_password_hashes_queued`: passwords that wait for a thread or are being hashed
    - `auth_signing_key_age_seconds`: how long the key that signs has been signing
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.logins = Counter("auth_logins", "Attempts to log in.", ["outcome"], registry=registry)
        self.refreshes = Counter("auth_refreshes", "Refresh tokens presented.", ["outcome"], registry=registry)
        self.registrations = Counter("auth_registrations", "Accounts opened.", registry=registry)
        self.hashes_queued = Gauge(
            "auth_password_hashes_queued", "Passwords that wait to be hashed.", registry=registry
        )
        self.signing_key_age = Gauge(
            "auth_signing_key_age_seconds", "How long the key that signs has been signing.", registry=registry
        )
