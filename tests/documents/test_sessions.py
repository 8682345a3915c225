"""The comparison of what is shown with what is printed, and the reading of consoles."""

import os
from pathlib import Path

import pytest

from documents.markdown import Document
from documents.sessions import DocumentError, Step, pattern, run, steps


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('{"id":"6b06",\n "text":"hello"}', '{"id":"01a2","text":"hello"}'),
        ("2 rows compared in 0.0 s", "31 rows compared in 12.25 s"),
        ('{"token":"eyJ0…","user":{"name":"Ada",…}}', '{"token":"eyK1xyz","user":{"name":"Ada","id":7}}'),
        ("0-17  2026-11-25T02:05:22.118000Z  tweets", "0-3  2027-01-01T00:00:00.000000Z  tweets"),
    ],
)
def test_variable_parts_of_the_output_may_differ(shown: str, printed: str) -> None:
    assert pattern(shown).fullmatch(printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("the copy agrees with its source", "the copy differs from its source"),
        ('{"lag":0,"role":"admin"}', '{"lag":0,"role":"customer"}'),
        ("2 rows compared", "2 rows compared\n1 different"),
        ("1 mended", "1mended"),
    ],
)
def test_fixed_parts_of_the_output_must_match(shown: str, printed: str) -> None:
    assert not pattern(shown).fullmatch(printed)


def written(folder: Path, text: str) -> Document:
    file = folder / "page.md"
    file.write_text(text)
    return Document(file)


def test_consoles_are_read_as_commands_and_what_they_print(tmp_path: Path) -> None:
    page = written(
        tmp_path, "```console\n$ echo 'a\n  b' |\n  cat\na\n  b\n$ true\n```\n```sh not-run: of Docker\nfalse\n```\n"
    )
    assert steps(page) == [Step("echo 'a\n  b' |\n  cat", 1, "a\n  b"), Step("true", 1, "")]


def test_a_block_that_is_not_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reason"):
        assert written(tmp_path, "```sh not-run:\nfalse\n```\n").blocks


@pytest.mark.integration
def test_shell_keeps_its_variables_and_reports_failures(tmp_path: Path) -> None:
    ours = {"PATH": "/usr/bin:/bin"}
    run([Step("N=1", 1), Step("echo $N", 2, "1")], folder=tmp_path, variables=ours, within=10)
    with pytest.raises(DocumentError, match="line 2: exit code 3"):
        run([Step("true", 1), Step("exit 3", 2), Step("true", 3)], folder=tmp_path, variables=ours, within=10)
    with pytest.raises(DocumentError, match="the document shows\nwhite"):
        run([Step("echo black", 1, "white")], folder=tmp_path, variables=ours, within=10)


@pytest.mark.integration
def test_question_is_repeated_until_the_answer_is_the_one_that_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "answer"
    file.write_text("0 of 1\n")
    later = Step(f"(until [ -e asked ]; do sleep 0.01; done; echo \"all 'done'\" >{file}) >/dev/null &", 1)
    ask = Step(f"curl -s file://{file}", 2, "all 'done'")
    variables = {"PATH": os.environ["PATH"]}
    run([later, Step("touch asked", 3), ask], folder=tmp_path, variables=variables, within=120)
    with pytest.raises(DocumentError, match="the document shows\nnothing"):
        run([Step(f"curl -s file://{file} # once", 4, "nothing")], folder=tmp_path, variables=variables, within=120)
