"""The limits of this service."""

import unicodedata
from dataclasses import dataclass
from datetime import timedelta

from auth_service.limits.backoff import BackoffPolicy
from auth_service.limits.budget import Budget
from auth_service.limits.service import Subject
from auth_service.settings import Settings

_WINDOW = timedelta(minutes=15)
_MAX_DELAY = timedelta(minutes=5)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Limits:
    """`account` limits count by the account, `address` limits by the client's network.

    A login counts for its account and address until it succeeds. `login_overall` counts failed logins only. When it is
    used up, clients with recent failures go through a `SlowLane`.

    Everything that sends a mail has a `mailbox` limit, too, so that no number of accounts and addresses can flood a
    mailbox. Changes that need the password and send mails have a fixed limit per account. What only the owner of an
    address can cause is never counted together with what others can: the rest that they see would reveal an account.
    """

    login_account: BackoffPolicy
    login_address: BackoffPolicy
    login_overall: Budget
    registration_address: BackoffPolicy
    registration_mailbox: BackoffPolicy
    mail_account: BackoffPolicy
    mail_address: BackoffPolicy
    mail_mailbox: BackoffPolicy
    confirmation_mailbox: BackoffPolicy
    email_change_account: BackoffPolicy
    email_change_mailbox: BackoffPolicy
    email_change_former: BackoffPolicy
    password_change_account: BackoffPolicy
    export_account: BackoffPolicy

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        def policy(name: str, quota: int) -> BackoffPolicy:
            return BackoffPolicy(name, quota, _WINDOW, _MAX_DELAY)

        changes = settings.auth_changes_per_account
        return cls(
            login_account=policy("login-account", settings.auth_login_attempts_per_account),
            login_address=policy("login-address", settings.auth_login_attempts_per_address),
            login_overall=Budget("login-overall", settings.auth_login_failures_overall, _WINDOW),
            registration_address=policy("registration-address", settings.auth_registrations_per_address),
            registration_mailbox=policy("registration-mailbox", settings.auth_mails_per_account),
            mail_account=policy("mail-account", settings.auth_mails_per_account),
            export_account=policy("export-account", settings.auth_exports_per_account),
            mail_address=policy("mail-address", settings.auth_mails_per_address),
            mail_mailbox=policy("mail-mailbox", settings.auth_mails_per_account),
            confirmation_mailbox=policy("confirmation-mailbox", settings.auth_mails_per_account),
            email_change_account=BackoffPolicy("email-change-account", changes, _HOUR, _HOUR, _HOUR),
            email_change_mailbox=BackoffPolicy("email-change-mailbox", changes, _HOUR, _MAX_DELAY),
            email_change_former=BackoffPolicy("email-change-former", changes, _HOUR, _MAX_DELAY),
            password_change_account=BackoffPolicy("password-change-account", changes, _HOUR, _HOUR, _HOUR),
        )

    def guesses(self, user_id: str) -> Subject:
        """Counts the passwords that are tried on an account, wherever and by whichever of its names."""
        return Subject(self.login_account, user_id)

    def guesses_of_unknown(self, login: str) -> Subject:
        """Counts attempts to log in by a name that no account has. The name itself is no id of an account."""
        return Subject(self.login_account, f"unknown\0{login.casefold()}")


def of_mailbox(policy: BackoffPolicy, email: str) -> Subject:
    """Counts by the mailbox of an address. Many providers deliver `ada+anything` to `ada`."""
    local, _, domain = unicodedata.normalize("NFKC", email).casefold().rpartition("@")
    return Subject(policy, f"{local.partition('+')[0]}@{domain}")
