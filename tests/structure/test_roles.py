"""The user interface offers exactly the roles that exist."""

import re
from pathlib import Path

from service_kit.roles import Role

EDITOR = Path(__file__).parents[2] / "web" / "parts" / "user-editor.js"


def test_user_editor_offers_every_role() -> None:
    found = re.search(r"export const ROLES = \[(.*?)\];", EDITOR.read_text())
    assert found is not None
    assert re.findall(r'"(\w+)"', found[1]) == list(Role)
