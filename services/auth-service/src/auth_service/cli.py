"""The command `auth-service`."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Coroutine
from typing import Any

import structlog
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from auth_service.accounts.models import Role
from auth_service.accounts.repository import AccountRepository
from auth_service.accounts.schemas import Registration
from auth_service.accounts.service import new_account
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import now
from auth_service.keys.encryption import WrongSecret
from auth_service.keys.schedule import published, signing
from auth_service.main import create_app, database_of, key_ring, prepare
from auth_service.origin import NOWHERE
from auth_service.passwords.policy import weakness
from auth_service.services import password_hasher
from auth_service.settings import Settings
from service_kit.logging import configure_logging
from service_kit.problems import Problem
from service_kit.server import serve
from service_kit.settings import format_settings_error


def main() -> None:
    """Run one command. What goes wrong ends in one line and exit code 1."""
    arguments = _parser().parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(format_settings_error(error))
    if arguments.command != "run":
        # A command's output is its answer; what is told besides goes where errors do.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # Commands print their result; what they log besides is for when something is wrong.
    configure_logging("auth-service", settings.log_level if arguments.command == "run" else "WARNING")
    match arguments.command:
        case "run":
            _attempt(prepare(settings))
            serve(create_app(settings), service="auth-service", settings=settings)
        case "create-admin":
            _attempt(_create_admin(settings, arguments))
        case "keys":
            rotates = arguments.action == "rotate"
            _attempt(_rotate(settings, withdraw_others=arguments.withdraw_others) if rotates else _list(settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="auth-service", description="Tandem's accounts and tokens.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="migrate the schema, then serve")
    admin = commands.add_parser("create-admin", help="open an account for an admin; asks for the password")
    admin.add_argument("--username", required=True)
    admin.add_argument("--email", required=True)
    admin.add_argument("--name", help="the username if not given")
    keys = commands.add_parser("keys", help="the keys that sign access tokens").add_subparsers(
        dest="action", required=True
    )
    keys.add_parser("list", help="each key, since when it signs, whether it is published")
    rotate = keys.add_parser("rotate", help="make the next key; it signs in 15 minutes, when everybody knows it")
    rotate.add_argument(
        "--withdraw-others",
        action="store_true",
        help="for a key that may have been stolen: sign now, and refuse what the others have signed",
    )
    return parser


def _attempt(command: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(command)
    except (WrongSecret, TimeoutError, Problem) as error:
        sys.exit(f"error: {error}")
    except CommandError as error:
        sys.exit(f"error: the schema can't be migrated: {error}")
    except DBAPIError as error:
        sys.exit(f"error: MySQL does not answer as it should: {error.orig}")


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
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        sys.exit(f"error: {wrong}")
    if password != confirmed:
        sys.exit("error: the two passwords are not the same")
    if reason := weakness(password, username=registration.username, email=registration.email):
        sys.exit(f"error: {reason}")
    await prepare(settings)
    hasher = password_hasher(settings)
    try:
        async with database_of(settings) as database, database.transaction() as session:
            user = new_account(registration, await hasher.hash(password), now())
            # Whoever runs this command answers for the address.
            user.credential.email_verified_at = now()
            await AccountRepository(session).create(user)
            audit = AuditTrail(now)
            await audit.record(session, Event.USER_CREATED, NOWHERE, user_id=user.id, role=user.role, by="command line")
    finally:
        hasher.close()
    print(f"{user.username} is an admin now (id {user.id})")


async def _rotate(settings: Settings, *, withdraw_others: bool) -> None:
    await prepare(settings)
    async with database_of(settings) as database:
        ring = key_ring(settings, database, now)
        made = await ring.rotate(withdraw_others=withdraw_others)
    print(f"{made.kid} signs from {made.signs_from:%Y-%m-%d %H:%M:%S} UTC")


async def _list(settings: Settings) -> None:
    await prepare(settings)
    async with database_of(settings) as database:
        keys, moment = await key_ring(settings, database, now).all(), now()
    signs, shown = signing(keys, moment), published(keys, moment)
    for key in keys:
        state = "signs" if key is signs else "planned" if key.signs_from > moment else "verifies"
        print(f"{key.kid}  {key.signs_from:%Y-%m-%d %H:%M:%S} UTC  {state if key in shown else 'expired'}")
