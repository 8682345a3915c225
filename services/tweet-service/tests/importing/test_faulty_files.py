"""Files with faults, and files that can't be imported."""

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.tweet_dataset import documents as generated
from benchmarks.tweet_dataset import write_dataset
from service_kit.retry import Backoff, Retrier
from support.import_target import PROGRAM, ImportTarget, counts_of, tweet
from tweet_service.importing import command
from tweet_service.importing.command import ImportSettings, import_dataset
from tweet_service.importing.repository import is_temporary


def test_faulty_records_are_rejected_and_the_rest_is_imported(target: ImportTarget) -> None:
    path = target.write(
        tweet(1),
        b'{"id": 2, "text": "no end',
        tweet(3, text=12),
        tweet(4, created_at="Thu Sep 02 18:11:23 +0000 1492"),
        json.dumps(tweet(5)).encode().replace(b"number", b"numb\xffer"),
        tweet(1, text="another"),
        b"",
        tweet(6),
        tweet(7, id=1.2e18, user={"id": 42, "screen_name": "ada_2010"}),
        json.dumps(tweet(8)).encode()[:-20],
    )
    path.write_bytes(path.read_bytes().rstrip())
    outcome = target.load_file(path)
    assert (outcome.code, outcome.counts) == (0, counts_of(inserted=2, rejected=7))
    assert [each["text"] for each in target.tweets()] == ["number 1", "number 6"]
    assert [(each["line"], each["reason"].split(":")[0]) for each in outcome.rejects] == [
        (2, "not JSON"),
        (3, "text"),
        (4, "created_at"),
        (5, "not UTF-8"),
        (6, "id"),
        (9, "id"),
        (10, "not JSON"),
    ]
    assert outcome.rejects[4]["reason"] == "id: duplicate of line 1"
    assert json.loads(outcome.rejects[1]["record"])["text"] == 12


def test_rejected_record_is_shown_in_part(target: ImportTarget) -> None:
    (reject,) = target.load(b"x" * 100_000, tweet(1)).rejects
    assert reject["record"] == "x" * 2000


@pytest.mark.parametrize("wrapping", ["array", "pretty array", "gzip", "gzip of an array"])
def test_file_of_every_kind(target: ImportTarget, wrapping: str) -> None:
    records = list(generated(50, 3, is_canonical=wrapping != "gzip"))
    text = "\n".join(json.dumps(each, ensure_ascii=False) for each in records)
    if "array" in wrapping:
        text = json.dumps(records, indent=2 if wrapping == "pretty array" else None)
    path = target.path / "tweets"
    path.write_bytes(gzip.compress(text.encode()) if "gzip" in wrapping else text.encode())
    assert target.load_file(path).counts["inserted"] == 50
    # The same tweet in another array is a duplicate there too.
    path.write_text(json.dumps([*records, records[7]]))
    assert target.load_file(path).counts == counts_of(skipped=50, rejected=1)


def test_gzip_file_that_is_cut_off_is_imported_as_far_as_it_goes(target: ImportTarget) -> None:
    path = target.path / "tweets.json.gz"
    write_dataset(200, 1, path, is_canonical=True)
    path.write_bytes(path.read_bytes()[:-2000])
    outcome = target.load_file(path)
    assert outcome.code == 0
    assert 100 < outcome.counts["inserted"] < 200
    assert outcome.rejects[-1]["reason"] == "the compressed file is cut off here"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,text\n1,hello\n", b"[]", b"\x89PNG\r\n\x1a\n" + bytes(99)])
def test_file_without_any_tweet_is_an_error(
    target: ImportTarget, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = target.path / "strange"
    path.write_bytes(content)
    assert target.load_file(path).code == 1
    assert "error: the file contains no valid record" in capsys.readouterr().err


def test_file_that_is_not_there_is_an_error(target: ImportTarget, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ImportSettings(mongodb_url=target.url)  # type: ignore[arg-type]  # pydantic converts
    assert import_dataset(target.path / "none", None, 10, settings) == 1
    assert import_dataset(target.path, None, 10, settings) == 1
    assert "No such file" in capsys.readouterr().err


def test_rejects_never_replace_another_file(target: ImportTarget, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ImportSettings(mongodb_url=target.url)  # type: ignore[arg-type]  # pydantic converts
    path = target.write(tweet(1))
    precious = target.write(b"precious", name="notes.txt")
    for rejects in (path, precious, target.path / "no folder" / "x"):
        assert import_dataset(path, rejects, 10, settings) == 1
    assert precious.read_bytes() == b"precious\n"
    assert "notes.txt: exists, and is not a file of rejected records" in capsys.readouterr().err


def test_database_that_does_not_answer_is_an_error(
    target: ImportTarget, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_STARTUP", Retrier(on=is_temporary, backoff=Backoff(0.5, 0.5), attempts=1))
    settings = ImportSettings(mongodb_url="mongodb://127.0.0.1:9/tweets")  # type: ignore[arg-type]  # pydantic converts
    assert import_dataset(target.write(tweet(1)), None, 10, settings) == 1
    assert "error: MongoDB does not answer" in capsys.readouterr().err


def test_address_of_the_database_is_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mongodb-url"
    file.write_text("mongodb://127.0.0.1:9/tweets\n")
    monkeypatch.delenv("MONGODB_URL", raising=False)
    monkeypatch.setenv("MONGODB_URL_FILE", str(file))
    assert ImportSettings().mongodb_url.get_secret_value() == "mongodb://127.0.0.1:9/tweets"


@pytest.mark.integration
def test_command_without_a_database_names_the_missing_setting(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MONGODB_URL"}
    done = subprocess.run(
        [PROGRAM, "import", tmp_path / "x"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error: the configuration is not valid: MONGODB_URL: Field required\n",
    )
