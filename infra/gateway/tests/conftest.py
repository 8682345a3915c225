"""nginx without root's rights."""

import os
from pathlib import Path

import pytest

UNPRIVILEGED = 65534


@pytest.fixture
def without_root(tmp_path: Path) -> list[str]:
    """The program that starts another one as a user who is not root and owns `tmp_path`; nothing if that is the case.

    The cache of root's programs is below root's home, so this user may pass folders that are closed to it, and nothing
    else.
    """
    if os.geteuid() != 0:
        return []
    os.chown(tmp_path, UNPRIVILEGED, UNPRIVILEGED)
    kept = "-all,+dac_read_search"
    return [
        "setpriv",
        f"--reuid={UNPRIVILEGED}",
        f"--regid={UNPRIVILEGED}",
        "--clear-groups",
        f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
    ]
