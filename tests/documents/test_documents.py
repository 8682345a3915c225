"""Documents are true: their commands run, their links resolve."""

import os
import re
from pathlib import Path

import pytest

from documents.markdown import Document
from documents.sessions import run, steps
from embedded_stack import Stack

ROOT = Path(__file__).parents[2]
# Files that are made by running the system, and folders of others.
_PASSED_OVER = {
    ".stack",
    ".venv",
    ".venv-peers",
    ".stack-test",
    ".stack-sync-only",
    ".stack-bench",
    ".stack-faults",
    "node_modules",
}
DOCUMENTS = {
    str(path.relative_to(ROOT)): Document(path)
    for path in sorted(ROOT.rglob("*.md"))
    if not _PASSED_OVER & set(path.relative_to(ROOT).parts)
}
# Taken out of the page piece by piece by tests of their own.
RUN_ELSEWHERE = {
    "docs/adding-a-route.md": "tests/e2e/test_own_route.py",
    "docs/your-own-databases.md": "tests/documents/test_your_own_databases.py",
}
WITH_COMMANDS = [name for name, document in DOCUMENTS.items() if steps(document) and name not in RUN_ELSEWHERE]


@pytest.fixture
def checkout(tmp_path: Path, running_stack: Stack) -> Path:
    """A folder that looks like the repository, with the tests' system running in it."""
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".stack"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / ".stack").symlink_to(running_stack.configuration.state)
    return tmp_path


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_commands_do_what_the_document_says(name: str, checkout: Path, running_stack: Stack) -> None:
    # Other tests may have broken it.
    running_stack.start()
    configuration = running_stack.configuration
    variables = {
        **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
        "TANDEM_STATE_DIR": str(configuration.state),
        "TANDEM_CACHE_DIR": str(configuration.cache),
        "TANDEM_PORT_OFFSET": str(configuration.port_offset),
    }
    try:
        run(steps(DOCUMENTS[name]), folder=checkout, variables=variables, within=600)
    finally:
        running_stack.start()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_resolve(name: str) -> None:
    page = DOCUMENTS[name]
    missing = []
    for link in page.links:
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        if not target.exists() or (anchor and anchor not in Document(target).anchors):
            missing.append(link)
    assert missing == []


def test_alerts_link_to_runbooks() -> None:
    """Prometheus's rules name a page for each alert."""
    rules = ROOT / "infra" / "observability" / "prometheus" / "alerts.yml"
    pages = re.findall(r"runbook_url: (\S+)", rules.read_text())
    assert pages
    for page in pages:
        name, _, anchor = page.partition("#")
        assert anchor in DOCUMENTS[name].anchors, page


def test_pages_run_elsewhere_are_tested_there() -> None:
    for name, test in RUN_ELSEWHERE.items():
        assert Path(name).name in (ROOT / test).read_text()
        assert name in DOCUMENTS
