"""The limits of this service."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.limits.policy import LimitPolicy
from auth_service.settings import Settings

_WINDOW = timedelta(minutes=15)
_MAX_DELAY = timedelta(minutes=5)
# For everybody at once a long delay would be the denial of service that somebody was after.
_MAX_DELAY_OVERALL = timedelta(seconds=30)


@dataclass(frozen=True)
class Limits:
    """`account` is what somebody tried to log in as (whether there is such an account or not), `address` from where.

    Logins count as attempts until they succeed; overall only failures are counted.
    """

    login_account: LimitPolicy
    login_address: LimitPolicy
    login_overall: LimitPolicy
    registration_address: LimitPolicy
    mail_account: LimitPolicy
    mail_address: LimitPolicy
    password_account: LimitPolicy

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        def policy(name: str, quota: int, max_delay: timedelta = _MAX_DELAY) -> LimitPolicy:
            return LimitPolicy(name, quota, _WINDOW, max_delay)

        return cls(
            login_account=policy("login-account", settings.auth_login_attempts_per_account),
            login_address=policy("login-address", settings.auth_login_attempts_per_address),
            login_overall=policy("login-overall", settings.auth_login_failures_overall, _MAX_DELAY_OVERALL),
            registration_address=policy("registration-address", settings.auth_registrations_per_address),
            mail_account=policy("mail-account", settings.auth_mails_per_account),
            mail_address=policy("mail-address", settings.auth_mails_per_address),
            password_account=policy("password-account", settings.auth_login_attempts_per_account),
        )
