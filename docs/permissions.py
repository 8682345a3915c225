"""Generates the table of roles and endpoints in security.md.

Its sources are the OpenAPI documents of the services and `service_kit.roles`. `make generate` runs it; a test compares
the page with its output.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from auth_service.main import create_app as create_auth
from auth_service.settings import Settings as AuthSettings
from registrar.main import create_app as create_registrar
from registrar.settings import Settings as RegistrarSettings
from service_kit.openapi import MORE_SCOPES
from service_kit.roles import SCOPES, Role, Scope
from sync_service.main import create_app as create_sync
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.settings import Settings as SyncSettings
from tweet_service.main import create_app as create_tweet
from tweet_service.settings import Settings as TweetSettings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
_BEGIN = "<!-- Generated from the code by docs/permissions.py (make generate); a test compares. -->\n"
_END = "<!-- End of the generated table. -->\n"
# The tag of routes that every service has.
_SHARED_TAG = "operations"

# Nothing connects to these addresses: only the OpenAPI documents are needed.
_NOWHERE: Mapping[str, Any] = {
    "mysql_url": "mysql://user:password@127.0.0.1:1/tandem",
    "mongodb_url": "mongodb://127.0.0.1:1/tweets",
    "kafka_bootstrap_servers": "127.0.0.1:1",
    "auth_jwks_url": "http://127.0.0.1:1/",
    "connect_url": "http://127.0.0.1:1/",
}


@dataclass(frozen=True)
class Operation:
    """`scope` is None if no scope is needed. `more` are scopes that some requests need as well, with the condition.

    Every service has the operations that are shared.
    """

    service: str
    is_shared: bool
    method: str
    path: str
    needs_token: bool
    scope: Scope | None
    more: Mapping[str, str]

    def is_open_to(self, role: Role | None) -> bool:
        """`role` is None for a request without a token."""
        if not self.needs_token:
            return True
        return role is not None and (self.scope is None or self.scope in SCOPES[role])


def applications() -> dict[str, FastAPI]:
    """Return the application of each service."""
    routes = load_routes(default_routes_file())
    return {
        "auth-service": create_auth(AuthSettings(**_NOWHERE)),
        "tweet-service": create_tweet(TweetSettings(**_NOWHERE)),
        "sync-service": create_sync(SyncSettings(**_NOWHERE), routes),
        "registrar": create_registrar(RegistrarSettings(**_NOWHERE), [], {}),
    }


def operations() -> Iterator[Operation]:
    """Yield every operation of every service, in the order of the OpenAPI documents."""
    for service, application in applications().items():
        for path, methods in application.openapi()["paths"].items():
            for method, operation in methods.items():
                yield _operation(service, method.upper(), path, operation)


def _operation(service: str, method: str, path: str, operation: Mapping[str, Any]) -> Operation:
    security: list[dict[str, list[str]]] = operation.get("security", [])
    scopes = [Scope(name) for each in security for names in each.values() for name in names]
    return Operation(
        service=service,
        is_shared=_SHARED_TAG in operation.get("tags", ()),
        method=method,
        path=path,
        needs_token=bool(security) and {} not in security,
        scope=scopes[0] if scopes else None,
        more=operation.get(MORE_SCOPES, {}),
    )


def table() -> str:
    head = ["service", "endpoint", "scope", "no token", *(f"`{role}`" for role in Role)]
    listed = sorted(operations(), key=lambda operation: operation.is_shared)
    rows = [head, ["---"] * len(head), *dict.fromkeys(map(_row, listed))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _row(operation: Operation) -> tuple[str, ...]:
    scopes = [f"`{operation.scope}`"] if operation.scope else []
    scopes += [f"`{scope}` {condition}" for scope, condition in operation.more.items()]
    allowed = ("yes" if operation.is_open_to(role) else "" for role in (None, *Role))
    service = "every service" if operation.is_shared else operation.service
    return (service, f"`{operation.method} {operation.path}`", "; ".join(scopes), *allowed)


def page() -> str:
    """Return the content of security.md with the present table."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"{PAGE} lacks the lines around the table")
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
