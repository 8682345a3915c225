"""The limits of this service."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.limits.backoff import BackoffPolicy
from auth_service.limits.budget import Budget
from auth_service.limits.service import Subject
from auth_service.settings import Settings
from auth_service.users.addresses import canonical_address, mailbox_of_alias

_WINDOW = timedelta(minutes=15)
_MAX_DELAY = timedelta(minutes=5)
_HOUR = timedelta(hours=1)
# So many accounts with an unconfirmed alias of a mailbox have mails counted apart, those that are the oldest.
OLDEST_ALIASES = 3


@dataclass(frozen=True)
class Limits:
    """`account` limits count by the account, `address` limits by the client's network.

    A login counts for its account and address until it succeeds. `login_overall` counts failed logins only. When it is
    used up, clients with recent failures go through a `SlowLane`.

    A current password that a logged-in user enters counts for `password_account`: anonymous logins must not block an
    open session, and a stolen token allows no more guesses than a login.

    `mailbox` limits count the mails of a kind when they are written, so that no number of accounts and addresses can
    flood a mailbox. They never refuse a request, because others could then keep the owner of a mailbox from it: a mail
    beyond the limit is not sent, or is sent later if it has a link that undoes a change. Changes that need the password
    and send mails have a fixed limit per account. News of a change that was made (`notice`, `email_changed`) counts
    only to an address that the account has not confirmed: an owner must always get it, and only the thief's own changes
    must be able to use up the one with the link.
    """

    login_account: BackoffPolicy
    login_address: BackoffPolicy
    login_overall: Budget
    password_account: BackoffPolicy
    registration_address: BackoffPolicy
    registration_mailbox: BackoffPolicy
    mail_account: BackoffPolicy
    mail_address: BackoffPolicy
    mail_mailbox: BackoffPolicy
    confirmation_mailbox: BackoffPolicy
    email_change_account: BackoffPolicy
    email_change_mailbox: BackoffPolicy
    email_change_former: BackoffPolicy
    email_changed_mailbox: BackoffPolicy
    notice_mailbox: BackoffPolicy
    password_change_account: BackoffPolicy
    export_account: BackoffPolicy
    profile_account: BackoffPolicy

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        def policy(name: str, quota: int) -> BackoffPolicy:
            return BackoffPolicy(name, quota, _WINDOW, _MAX_DELAY)

        changes = settings.auth_changes_per_account
        return cls(
            login_account=policy("login-account", settings.auth_login_attempts_per_account),
            login_address=policy("login-address", settings.auth_login_attempts_per_address),
            login_overall=Budget("login-overall", settings.auth_login_failures_overall, _WINDOW),
            password_account=policy("password-account", settings.auth_login_attempts_per_account),
            registration_address=policy("registration-address", settings.auth_registrations_per_address),
            registration_mailbox=policy("registration-mailbox", settings.auth_mails_per_account),
            mail_account=policy("mail-account", settings.auth_mails_per_account),
            profile_account=policy("profile-account", settings.auth_profile_changes_per_account),
            export_account=policy("export-account", settings.auth_exports_per_account),
            mail_address=policy("mail-address", settings.auth_mails_per_address),
            mail_mailbox=policy("mail-mailbox", settings.auth_mails_per_account),
            # Registrations and the confirmations that are requested later.
            confirmation_mailbox=policy("confirmation-mailbox", 2 * settings.auth_mails_per_account),
            email_change_account=BackoffPolicy("email-change-account", changes, _HOUR, _HOUR, _HOUR),
            email_change_mailbox=BackoffPolicy("email-change-mailbox", changes, _HOUR, _MAX_DELAY),
            email_change_former=BackoffPolicy("email-change-former", changes, _HOUR, _MAX_DELAY),
            email_changed_mailbox=BackoffPolicy("email-changed-mailbox", changes, _HOUR, _MAX_DELAY),
            notice_mailbox=BackoffPolicy("notice-mailbox", changes, _HOUR, _MAX_DELAY),
            password_change_account=BackoffPolicy("password-change-account", changes, _HOUR, _HOUR, _HOUR),
        )

    def guesses(self, user_id: str) -> Subject:
        """Counts the passwords that are tried on an account at the login, by whichever of its names."""
        return Subject(self.login_account, user_id)

    def guesses_with_token(self, user_id: str) -> Subject:
        """Counts the current passwords that are tried in the sessions of an account."""
        return Subject(self.password_account, user_id)

    def guesses_of_unknown(self, login: str) -> Subject:
        """Counts attempts to log in by a name that no account has. The name itself is no id of an account."""
        return Subject(self.login_account, f"unknown\0{canonical_address(login).lower()}")


def of_mailbox(
    policy: BackoffPolicy, email: str, *, is_confirmed: bool = False, older: int = OLDEST_ALIASES
) -> Subject:
    """Counts the mails to a canonical address. Unconfirmed aliases (`ada+anything`) of a mailbox are counted together.

    Many providers deliver them to `ada`, and anyone can register them. They are not counted together with `ada` itself
    or with a confirmed alias: mails to others' aliases must not keep the owner's mails back. Nor must they keep back
    those of an account with an unconfirmed alias that was there first: the oldest such accounts of a mailbox are
    counted apart, by the number of `older` ones. So the number of counts does not grow with the number of accounts.
    """
    mailbox = None if is_confirmed else mailbox_of_alias(email)
    if mailbox is None:
        return Subject(policy, email)
    return Subject(policy, f"alias {older}\0{mailbox}" if older < OLDEST_ALIASES else f"aliases\0{mailbox}")
