"""The examples of docs/routes.md do what the page says."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from sync_service.routes.explain import explain_event
from sync_service.routes.loader import load_routes

SECRET = SecretStr("a secret of this page")
PAGE = (Path(__file__).parents[4] / "docs" / "routes.md").read_text()
_BLOCK = re.compile(r"^```(yaml|json|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str, str]]:
    """Routes, an event and its explanation. An example may have several events."""
    found: list[tuple[str, str, str]] = []
    routes = event = ""
    for language, text in _BLOCK.findall(PAGE):
        match language:
            case "yaml":
                routes = text
            case "json":
                event = text
            case "text":
                found.append((routes, event, text))
    return found


@pytest.mark.parametrize(("routes", "event", "explanation"), examples())
def test_example_is_explained_as_the_page_says(routes: str, event: str, explanation: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(routes)
    assert f"{explain_event(event, load_routes(file, SECRET))}\n" == explanation


def test_page_names_the_secret() -> None:
    assert f"`SYNC_HASH_SECRET={SECRET.get_secret_value()}`" in PAGE


@pytest.mark.parametrize("routes", [text for language, text in _BLOCK.findall(PAGE) if language == "yaml"])
def test_routes_of_the_page_are_valid(routes: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(routes)
    assert load_routes(file, SECRET)
