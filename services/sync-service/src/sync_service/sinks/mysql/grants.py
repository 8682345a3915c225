"""The privileges that accounts need in the schemas that routes name. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

from sync_service.sinks.mysql.ddl import quoted

# The same as in infra/mysql/accounts.sql, without REFERENCES, which no statement needs.
NEEDED = (
    *("SELECT", "INSERT", "UPDATE", "DELETE"),
    *("CREATE", "ALTER", "DROP", "INDEX", "CREATE VIEW", "SHOW VIEW"),
)
_GRANT = re.compile(r"GRANT (?P<privileges>.+) ON (?P<schema>\*|`.+`)\.\* TO (?P<account>\S+)")


def missing_grants(shown: Sequence[str], schemas: Iterable[str]) -> Mapping[str, str]:
    """The GRANT statements that are missing, by schema. `shown` is the answer to SHOW GRANTS."""
    granted = [match for line in shown if (match := _GRANT.match(line))]
    if not granted:
        return {}
    account = granted[0]["account"]
    statements = {}
    for schema in sorted(set(schemas)):
        held = {
            privilege.strip()
            for grant in granted
            if _covers(grant["schema"].strip("`"), schema)
            for privilege in grant["privileges"].split(",")
        }
        if "ALL PRIVILEGES" not in held and not held.issuperset(NEEDED):
            # All of them: of the grants whose patterns match a schema, MySQL applies the most specific one alone.
            statements[schema] = f"GRANT {', '.join(NEEDED)} ON {_pattern(schema)}.* TO {account}"
    return statements


def grants_of_source(schema: str, table: str, accounts: Iterable[str]) -> list[str]:
    """So that these accounts may read a table that a route copies."""
    place = f"{quoted(schema)}.{quoted(table)}"
    return [f"GRANT SELECT ON {place} TO {_account(name)}" for name in accounts]


def grants_of_copies(schema: str, account: str) -> list[str]:
    """So that the account may write copies in the schema."""
    return [f"GRANT {', '.join(NEEDED)} ON {_pattern(schema)}.* TO {_account(account)}"]


def _pattern(schema: str) -> str:
    """In GRANT the name of a schema is a pattern, in which _ is any character."""
    return quoted(schema.replace("_", "\\_"))


def _account(name: str) -> str:
    return f"'{name.replace(chr(39), chr(39) * 2)}'@'%'"


def _covers(pattern: str, schema: str) -> bool:
    """MySQL manual, "GRANT Statement": % and _ are wildcards unless there is a backslash before them."""
    parts = re.findall(r"\\.|.", pattern)
    wildcards = {"%": ".*", "*": ".*", "_": "."}
    expression = "".join(wildcards.get(part) or re.escape(part.removeprefix("\\")) for part in parts)
    return re.fullmatch(expression, schema) is not None
