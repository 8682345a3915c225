"""The command `auth-service`."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import INTERNAL
from auth_service.database import utc_now
from auth_service.keys.encryption import WrongSecret
from auth_service.keys.schedule import published, signing
from auth_service.main import create_app, database_of, key_ring, prepare
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.passwords.policy import weakness
from auth_service.registration.schemas import Registration
from auth_service.registration.service import new_user
from auth_service.services import password_hasher
from auth_service.settings import Settings
from auth_service.users.problems import EmailTaken
from auth_service.users.usernames import Usernames
from service_kit.error_texts import error_reason
from service_kit.logging import configure_logging
from service_kit.problems import Problem
from service_kit.roles import Role
from service_kit.server import serve
from service_kit.settings import format_settings_error

# Errors of a login or of rights, which name accounts, schemas, tables and columns.
_ABOUT_NAMES = frozenset({1044, 1045, 1049, 1142, 1143, 1227})
# Errors of connections (MySQL's error reference, "Client Error Message Reference").
_CLIENT_CODES = range(2000, 3000)


def main() -> None:
    """Run one command. An error ends it with one line and exit code 1."""
    arguments = _parser().parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(format_settings_error(error))
    if arguments.command != "run":
        # Standard output is for the command's result, so that logs go to standard error.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # A command prints its result, and logs only warnings and errors.
    configure_logging("auth-service", settings.log_level if arguments.command == "run" else "WARNING")
    match arguments.command:
        case "run":
            with errors_in_one_line():
                serve(
                    create_app(settings),
                    service="auth-service",
                    settings=settings,
                    before_start=lambda: prepare(settings),
                )
        case "create-admin":
            _run(_create_admin(settings, arguments))
        case "keys":
            rotate = arguments.action == "rotate"
            _run(_rotate(settings, withdraw_others=arguments.withdraw_others) if rotate else _list(settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="auth-service", description="Tandem's accounts and tokens.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="migrate the schema, then serve HTTP")
    admin = commands.add_parser("create-admin", help="create an account of an admin; asks for the password")
    admin.add_argument("--username", required=True)
    admin.add_argument("--email", required=True)
    admin.add_argument("--name", help="default: the username")
    keys = commands.add_parser("keys", help="list or rotate the keys that sign access tokens").add_subparsers(
        dest="action", required=True
    )
    keys.add_parser("list", help="list the keys, when they begin to sign and their state")
    rotate = keys.add_parser(
        "rotate", help="create the next key; it signs after 15 minutes, when all verifiers have fetched it"
    )
    rotate.add_argument(
        "--withdraw-others",
        action="store_true",
        help="after a theft: sign with the new key now, and revoke all tokens of other keys",
    )
    return parser


def _run(command: Coroutine[Any, Any, None]) -> None:
    with errors_in_one_line():
        asyncio.run(command)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the process with one line for an expected error."""
    try:
        yield
    except (WrongSecret, TimeoutError, Problem) as error:
        sys.exit(f"error: {error}")
    except CommandError as error:
        sys.exit(f"error: the migration of the schema failed: {error}")
    except DBAPIError as error:
        sys.exit(f"error: MySQL reports an error: {_without_values(error)}")


def _without_values(error: DBAPIError) -> str:
    """MySQL's message if it quotes names only. Others may quote a row, and a container's log keeps them."""
    code, *message = error.orig.args if error.orig else (None,)
    return str(message[-1]) if message and (code in _ABOUT_NAMES or code in _CLIENT_CODES) else error_reason(error)


async def _create_admin(settings: Settings, arguments: argparse.Namespace) -> None:
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    confirmed = getpass.getpass("Again: ") if sys.stdin.isatty() else password
    try:
        registration = Registration(
            username=arguments.username,
            email=arguments.email,
            name=arguments.name or arguments.username,
            password=password,
            password_confirm=confirmed,
            role=Role.ADMIN,
        )
    except ValidationError as error:
        errors = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        sys.exit(f"error: {errors}")
    if password != confirmed:
        sys.exit("error: the two passwords are not the same")
    if reason := weakness(password, username=registration.username, email=registration.email):
        sys.exit(f"error: {reason}")
    await prepare(settings)
    hasher = password_hasher(settings)
    try:
        async with database_of(settings) as database, database.transaction() as session:
            user = new_user(registration, await hasher.hash(password), utc_now())
            # The operator vouches for the address.
            user.credential.email_verified_at = utc_now()
            await Usernames(timedelta(days=settings.auth_username_hold_days), utc_now).create(session, user)
            if await OneTimeTokenRepository(session).is_held(user.email, utc_now(), except_user_id=user.id):
                raise EmailTaken
            audit = AuditTrail(utc_now)
            await audit.record(
                session, Event.USER_CREATED, INTERNAL, user_id=user.id, role=user.role, by="command line"
            )
    finally:
        hasher.close()
    print(f"{user.username} is now an admin (id {user.id})")


async def _rotate(settings: Settings, *, withdraw_others: bool) -> None:
    await prepare(settings)
    async with database_of(settings) as database:
        ring = key_ring(settings, database, utc_now)
        created = await ring.rotate(withdraw_others=withdraw_others)
    print(f"{created.kid} signs from {created.signs_from:%Y-%m-%d %H:%M:%S} UTC")


async def _list(settings: Settings) -> None:
    await prepare(settings)
    async with database_of(settings) as database:
        keys, now = await key_ring(settings, database, utc_now).all(), utc_now()
    signing_key, published_keys = signing(keys, now), published(keys, now)
    for key in keys:
        state = "signs" if key is signing_key else "planned" if key.signs_from > now else "verifies"
        print(f"{key.kid}  {key.signs_from:%Y-%m-%d %H:%M:%S} UTC  {state if key in published_keys else 'expired'}")
