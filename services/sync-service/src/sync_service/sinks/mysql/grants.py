"""The privileges that the sync's account needs in the schemas that routes name, and lacks. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

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
        lacking = [] if "ALL PRIVILEGES" in held else [privilege for privilege in NEEDED if privilege not in held]
        if lacking:
            # In GRANT the name of a schema is a pattern, in which _ is any character.
            pattern = schema.replace("_", "\\_")
            statements[schema] = f"GRANT {', '.join(lacking)} ON `{pattern}`.* TO {account}"
    return statements


def _covers(pattern: str, schema: str) -> bool:
    """MySQL manual, "GRANT Statement": % and _ are wildcards unless there is a backslash before them."""
    parts = re.findall(r"\\.|.", pattern)
    wildcards = {"%": ".*", "*": ".*", "_": "."}
    expression = "".join(wildcards.get(part) or re.escape(part.removeprefix("\\")) for part in parts)
    return re.fullmatch(expression, schema) is not None
