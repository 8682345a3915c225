"""Creates the services and wires them together, once per application."""

from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry

from auth_service.administration.service import AdministrationService
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.email_addresses.service import EmailAddressService
from auth_service.keys.service import KeyRing
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter
from auth_service.limits.slow_lane import SlowLane
from auth_service.login.service import LoginService
from auth_service.metrics import AuthMetrics
from auth_service.outbox.service import Outbox
from auth_service.passwords.hashing import PasswordHasher
from auth_service.passwords.reauthentication import Reauthenticator
from auth_service.passwords.service import PasswordService
from auth_service.profile.service import ProfileService
from auth_service.registration.service import RegistrationService
from auth_service.sessions.access_tokens import AccessTokenIssuer
from auth_service.sessions.service import SessionLifetimes, SessionLimits, SessionService
from auth_service.settings import Settings
from auth_service.users.usernames import Usernames


def password_hasher(settings: Settings) -> PasswordHasher:
    return PasswordHasher(
        settings.auth_password_workers,
        memory_kib=settings.auth_argon2_memory_kib,
        rounds=settings.auth_argon2_rounds,
        parallelism=settings.auth_argon2_parallelism,
    )


@dataclass(frozen=True)
class Services:
    audit: AuditTrail
    sessions: SessionService
    login: LoginService
    registration: RegistrationService
    profiles: ProfileService
    addresses: EmailAddressService
    passwords: PasswordService
    administration: AdministrationService

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        database: Database,
        keys: KeyRing,
        hasher: PasswordHasher,
        outbox: Outbox,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> "Services":
        metrics = AuthMetrics(registry)
        metrics.hashes_queued.set_function(lambda: hasher.queued)
        metrics.signing_key_age.set_function(lambda: keys.signing_key_age().total_seconds())
        audit, limiter, limits = AuditTrail(clock), AttemptLimiter(clock), Limits.of(settings)
        anonymous = AnonymousDatabase(database)
        access_tokens = AccessTokenIssuer(
            keys,
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            lifetime=timedelta(seconds=settings.auth_access_token_seconds),
        )
        lifetimes = SessionLifetimes(
            session=timedelta(seconds=settings.auth_session_seconds),
            remembered=timedelta(seconds=settings.auth_remembered_session_seconds),
            refresh_grace=timedelta(seconds=settings.auth_refresh_grace_seconds),
        )
        session_limits = SessionLimits(
            open_sessions=settings.auth_sessions_per_account,
            logins=settings.auth_logins_per_account,
            refreshes=settings.auth_refreshes_per_session,
        )
        sessions = SessionService(database, anonymous, access_tokens, lifetimes, session_limits, audit, clock, metrics)
        reauthenticator = Reauthenticator(database, hasher, limiter, limits, audit)
        addresses = EmailAddressService(database, anonymous, sessions, outbox, limiter, limits, audit, clock)
        usernames = Usernames(timedelta(days=settings.auth_username_hold_days), clock)
        must_verify = settings.auth_require_email_verification
        return cls(
            audit=audit,
            sessions=sessions,
            login=LoginService(
                anonymous,
                hasher,
                sessions,
                limiter,
                limits,
                SlowLane(limits.login_overall),
                audit,
                clock,
                metrics,
                require_verified_email=must_verify,
            ),
            registration=RegistrationService(
                anonymous,
                hasher,
                reauthenticator,
                sessions,
                addresses,
                usernames,
                limiter,
                limits,
                audit,
                clock,
                metrics,
                require_verified_email=must_verify,
            ),
            profiles=ProfileService(database, reauthenticator, addresses, usernames, limiter, limits, audit, clock),
            addresses=addresses,
            passwords=PasswordService(
                database, anonymous, hasher, reauthenticator, sessions, outbox, limiter, limits, audit, clock
            ),
            administration=AdministrationService(
                database, reauthenticator, sessions, usernames, limiter, limits, audit, clock
            ),
        )
