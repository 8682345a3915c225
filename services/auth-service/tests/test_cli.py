"""The command line: the first admin, and keys."""

import pytest
from asyncmy.errors import DataError, IntegrityError, MySQLError, OperationalError
from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from auth_service.cli import errors_in_one_line
from auth_service.settings import Settings
from support.auth_app import RegisteredUser, client_of, log_in, running_app
from support.commands import run_command

PASSWORD = "a rather long passphrase"
ADMIN = ("create-admin", "--username", "admin", "--email", "root@example.com")


async def run(mysql_url: str, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    variables = {"MYSQL_URL": mysql_url, "LOG_LEVEL": "WARNING"}
    return await run_command("auth-service", *arguments, typed=typed, **variables)


async def test_create_admin_creates_an_admin_who_can_log_in(empty_schema: str, settings: Settings) -> None:
    code, output, errors = await run(empty_schema, *ADMIN, typed=PASSWORD + "\n")
    assert (code, errors) == (0, "")
    assert output.startswith("admin is now an admin")
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    admin: RegisteredUser = {"form": {"username": "admin", "password": PASSWORD}}
    async with running_app(own) as app, client_of(app) as client:
        tokens = await log_in(client, admin)
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        me = (await client.get("/v1/users/me", headers=headers)).json()
        assert (me["role"], me["email_verified"]) == ("admin", True)
        assert (await client.get("/v1/users", headers=headers)).status_code == 200
    code, _, errors = await run(empty_schema, *ADMIN, typed=PASSWORD + "\n")
    assert (code, errors) == (1, "error: This username is already taken.\n")


@pytest.mark.parametrize(
    ("arguments", "typed", "says"),
    [
        (ADMIN, "password1\n", "error: This is one of the most common passwords."),
        (ADMIN, "\n", "error: password: String should have at least 8 characters"),
        (("create-admin", "--username", "no spaces", "--email", "x"), PASSWORD + "\n", "error: username: "),
    ],
)
async def test_error_is_one_line(settings: Settings, arguments: tuple[str, ...], typed: str, says: str) -> None:
    code, output, errors = await run(settings.mysql_url.get_secret_value(), *arguments, typed=typed)
    assert (code, output) == (1, "")
    assert errors.startswith(says)
    assert errors.count("\n") == 1


async def test_create_admin_has_no_password_argument(settings: Settings) -> None:
    code, _, _ = await run(settings.mysql_url.get_secret_value(), *ADMIN, "--password", PASSWORD)
    assert code == 2


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DataError(1292, "Incorrect date value: 'ada@example.com' for column 'day' at row 1"), "DBAPIError 1292"),
        (IntegrityError(1062, "Duplicate entry 'ada@example.com' for key 'users.email'"), "DBAPIError 1062"),
        (
            OperationalError(1142, "ALTER command denied to user 'auth'@'%' for table 'users'"),
            "ALTER command denied to user 'auth'@'%' for table 'users'",
        ),
        (
            OperationalError(2003, "Can't connect to MySQL server on 'mysql'"),
            "Can't connect to MySQL server on 'mysql'",
        ),
    ],
)
def test_error_of_mysql_is_without_values_of_rows(error: MySQLError, says: str) -> None:
    """A migration that fails ends `run` with such an error, and a container's log keeps it."""
    parameters = {"email": "ada@example.com"}
    with pytest.raises(SystemExit) as ended, errors_in_one_line():
        raise DBAPIError("INSERT", parameters, error)
    assert ended.value.code == f"error: MySQL reports an error: {says}"


async def test_refused_login_to_mysql_is_explained(settings: Settings) -> None:
    wrong = make_url(settings.mysql_url.get_secret_value()).set(password="wrong")
    code, _, errors = await run(wrong.render_as_string(hide_password=False), "keys", "list")
    assert code == 1
    assert errors.startswith("error: MySQL reports an error: Access denied for user '")
    assert errors.count("\n") == 1


async def test_keys_are_listed_and_rotated(empty_schema: str) -> None:
    code, output, _ = await run(empty_schema, "keys", "list")
    assert code == 0
    ((first, *_rest),) = [line.split() for line in output.splitlines()]
    code, output, _ = await run(empty_schema, "keys", "rotate")
    planned = output.split()[0]
    assert "signs from" in output
    code, output, _ = await run(empty_schema, "keys", "list")
    assert {line.split()[0]: line.split()[-1] for line in output.splitlines()} == {first: "signs", planned: "planned"}
    code, output, _ = await run(empty_schema, "keys", "rotate", "--withdraw-others")
    newest = output.split()[0]
    code, output, _ = await run(empty_schema, "keys", "list")
    assert {line.split()[0]: line.split()[-1] for line in output.splitlines()} == {newest: "signs"}
