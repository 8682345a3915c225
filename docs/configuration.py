"""Generates configuration.md from the `Settings` classes, the connectors and `.env.example`.

`make generate` runs it; a test compares the page with its output.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from auth_service.settings import Settings as AuthSettings
from embedded_stack.configuration import PORTS, StackConfiguration
from registrar.generation import generated_connectors
from registrar.settings import Settings as RegistrarSettings
from service_kit.settings import ServiceSettings
from sync_service.routes.loader import default_routes_file, load_routes_file
from sync_service.settings import Settings as SyncSettings
from tweet_service.settings import Settings as TweetSettings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "configuration.md"
SERVICES: Mapping[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "tweet": TweetSettings,
    "sync": SyncSettings,
    "registrar": RegistrarSettings,
}
_VARIABLE = re.compile(r"\$\{(\w+)\}")

_INTRODUCTION = """\
# Configuration

<!-- Generated from the code by docs/configuration.py (make generate); a test compares. -->

All settings are environment variables. `make run` sets them; with Docker they are in `.env`, on Kubernetes
in [ConfigMaps and Secrets](../infra/kubernetes/README.md). An invalid value ends the start with one line that
names the variable. Secrets never appear in logs or error messages. A default secret, which contains `local-only-`, is
rejected unless `ENVIRONMENT=local`.

**Secrets as files.** Every secret `X` of a service or of the embedded stack (addresses with passwords, passwords,
keys), and every variable of a connector, can be given as `X_FILE` instead: the path of a file with the value, without
the final newline. It is an error to set both, or to name an unreadable file.
"""

_SERVICES = """
## Services

*required* variables have no default. With Docker, set variables that are not in `.env` in your own
`docker-compose.override.yml`, under the service's `environment`.
"""

_CONNECTORS = """
## Connectors

The registrar inserts them into the connectors; all but `REGISTRAR_REPLICATION_FACTOR` are required. A source
of your own in `routes.yaml` names the start of its own variables by `environment`.
"""

_DOCKER = """
## Docker

`make env` writes `.env` from `.env.example`, with random secrets. Only the gateway is open to the network; the services
and the mail sink are open to the machine itself.
"""

_GATEWAY = """
## Gateway

`docker-compose.yml`, the image, the embedded stack and `infra/kubernetes` insert these variables into
`infra/gateway/templates`: {names}. Operators set:

- `GATEWAY_TRUSTED_PROXY`: the network (`10.0.0.0/8`) of a proxy before the gateway, whose `X-Forwarded-For` and
  `X-Forwarded-Proto` it then accepts. The limits below then count the clients that this proxy names.
- `GATEWAY_CONNECTIONS_PER_CLIENT` (2000) and `GATEWAY_REQUESTS_PER_CLIENT` (500): the TCP connections of a client, and
  its requests at the same time, event streams included. A client is an IPv4 address, or an IPv6 network of /64.
  [operations.md](operations.md#limits-of-the-gateway) says how to choose them.
- `GATEWAY_WORKERS` (2): processes of nginx, each with up to 16384 connections, for which it takes 7 MB, and 20000 open
  files.
- `GATEWAY_PUBLIC_URL` (Docker sets it to `PUBLIC_URL`): if it begins with `https:`, browsers use no http for this host
  for a year (HSTS).
"""

_EMBEDDED = """
## Embedded stack

{table}
A second stack needs its own offset and its own folder. Ports: {ports}.
"""


def page() -> str:
    """Return the content of configuration.md."""
    templates = (ROOT / "infra" / "gateway" / "templates").glob("*.template")
    names = {name for template in templates for name in _VARIABLE.findall(template.read_text())}
    gateway = ", ".join(f"`{name}`" for name in sorted(names))
    ports = ", ".join(f"{name} {port}" for name, port in PORTS.items())
    embedded = _table(("variable", "default", "meaning"), _rows_of_the_embedded_stack())
    return "".join(
        (
            _INTRODUCTION,
            _SERVICES,
            _table(("variable", "default", "services", "meaning"), _rows_of_services()),
            _CONNECTORS,
            _table(("variable", "settings"), _rows_of_connectors()),
            _DOCKER,
            _table(("variable", "value in `.env.example`", "meaning"), _rows_of_docker()),
            _GATEWAY.format(names=gateway),
            _EMBEDDED.format(table=embedded.lstrip("\n"), ports=ports),
        )
    )


def variables(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """Return the fields of a `Settings` class by environment variable."""
    return {str(field.validation_alias or name).upper(): field for name, field in settings.model_fields.items()}


def description(settings: type[BaseSettings], variable: str) -> str | None:
    """Return the variable's description from the class, or from its base class."""
    bases = (base for base in settings.__mro__ if issubclass(base, BaseSettings))
    found = (variables(base)[variable].description for base in bases if variable in variables(base))
    return next(filter(None, found), None)


def connector_variables() -> dict[str, list[str]]:
    """Return the connector settings that each variable provides."""
    filled: dict[str, list[str]] = {}
    for connector, config in sorted(generated_connectors(load_routes_file(default_routes_file())).items()):
        for key, value in config.items():
            if variable := re.fullmatch(r"\$\{(\w+)\}", value):
                filled.setdefault(variable[1], []).append(f"{connector}: `{key}`")
    return filled


def docker_variables() -> dict[str, tuple[str, str]]:
    """Return value and comment of each variable in .env.example, including disabled ones (`#NAME=value`)."""
    found: dict[str, tuple[str, str]] = {}
    comment: list[str] = []
    is_fresh = True
    for line in (ROOT / ".env.example").read_text().splitlines():
        if assignment := re.fullmatch(r"#?(\w+)=(.*)", line):
            found[assignment[1]] = (assignment[2], " ".join(comment))
            is_fresh = True
        elif line.startswith("# "):
            comment = [*([] if is_fresh else comment), line.removeprefix("# ")]
            is_fresh = False
        else:
            comment, is_fresh = [], True
    return found


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _rows_of_services() -> Iterator[tuple[str, str, str, str]]:
    """Yield one row for variables of several services with the same meaning."""
    merged: dict[tuple[str, str], dict[str, str]] = {}
    for service, settings in SERVICES.items():
        for name, field in variables(settings).items():
            meaning = " ".join(filter(None, (description(settings, name), _bounds(field))))
            merged.setdefault((name, meaning), {})[service] = _default(field)
    for (name, meaning), defaults in merged.items():
        values = set(defaults.values())
        default = values.pop() if len(values) == 1 else ", ".join(f"{each} {value}" for each, value in defaults.items())
        services = "all" if len(defaults) == len(SERVICES) else ", ".join(defaults)
        yield f"`{name}`", default, services, meaning


def _rows_of_connectors() -> Iterator[tuple[str, str]]:
    for name, places in connector_variables().items():
        yield f"`{name}`", ", ".join(places)


def _rows_of_docker() -> Iterator[tuple[str, str, str]]:
    before = ""
    for name, (value, comment) in docker_variables().items():
        yield f"`{name}`", f"`{value}`", "″" if comment == before else comment
        before = comment


def _rows_of_the_embedded_stack() -> Iterator[tuple[str, str, str]]:
    for name, field in variables(StackConfiguration).items():
        default = field.default
        value = default.relative_to(ROOT) if isinstance(default, Path) and default.is_relative_to(ROOT) else default
        yield f"`{name}`", "none" if value is None else f"`{value}`", field.description or ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    if field.default_factory is not None:
        return "see meaning"
    match field.default:
        case SecretStr():
            return f"`{field.default.get_secret_value()}`"
        case "" | () | None:
            return "none"
        case bool():
            return f"`{str(field.default).lower()}`"
        case default:
            return f"`{default}`"


def _bounds(field: FieldInfo) -> str:
    """Return the allowed values or limits, if any."""
    if get_origin(field.annotation) is Literal:
        return f"One of {', '.join(f'`{value}`' for value in get_args(field.annotation))}."
    limits: dict[str, Any] = {}
    for each in field.metadata:
        match each:
            case Ge(ge=least):
                limits["from"] = least
            case Gt(gt=below):
                limits["above"] = below
            case Le(le=most):
                limits["to"] = most
            case Lt(lt=over):
                limits["below"] = over
            case MinLen(min_length=length):
                return f"At least {length} characters."
    return f"({' '.join(f'{word} {limit}' for word, limit in limits.items())})" if limits else ""


if __name__ == "__main__":
    PAGE.write_text(page())
