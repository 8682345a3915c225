"""`tweet-service import` on a real MongoDB."""

import gzip
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from bson import ObjectId
from pymongo.database import Database

from benchmarks.tweet_dataset import documents as generated
from benchmarks.tweet_dataset import write_dataset
from embedded_stack import Stack
from service_kit.retry import Backoff, Retrier
from support.jwt_issuer import Issuer
from tweet_service.importing import command
from tweet_service.importing.command import ImportSettings, import_dataset
from tweet_service.importing.mapping import object_id
from tweet_service.importing.repository import is_temporary

Json = dict[str, Any]
COUNTS = ("inserted", "updated", "skipped", "rejected", "originals")
PROGRAM = Path(sys.executable).with_name("tweet-service")


def tweet(number: int, **more: Any) -> Json:
    return {
        "id": number,
        "text": f"number {number}",
        "created_at": "Thu Sep 02 18:11:23 +0000 2010",
        "source": "web",
        "user": {"id": 42, "screen_name": "ada_2010", "name": "Ada"},
        **more,
    }


@dataclass(frozen=True)
class Outcome:
    code: int
    counts: Json
    rejects: list[Json]


@dataclass
class Target:
    """A database of a test's own, and a folder with the dataset."""

    url: str
    database: Database[Json]
    path: Path

    def write(self, *records: Any, name: str = "tweets.json") -> Path:
        path = self.path / name
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path

    def load(self, *records: Any, batch: int = 1000, name: str = "tweets.json") -> Outcome:
        return self.load_file(self.write(*records, name=name), batch=batch)

    def load_file(self, path: Path, batch: int = 1000) -> Outcome:
        code = import_dataset(path, None, batch, ImportSettings(mongodb_url=self.url))  # type: ignore[arg-type]  # pydantic converts
        return self.outcome(path, code)

    def outcome(self, path: Path, code: int) -> Outcome:
        state = self.state()
        rejects = path.with_name(f"{path.name}.rejects.ndjson")
        lines = rejects.read_text().splitlines() if rejects.exists() else []
        return Outcome(code, state["tally"] if state else {}, [json.loads(line) for line in lines])

    def state(self) -> Json | None:
        """Of the import that was begun last."""
        return self.database["imports"].find_one({"started_at": {"$exists": True}}, sort=[("started_at", -1)])

    def start(self, path: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, "import", path, *arguments],
            env={**os.environ, "MONGODB_URL": self.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def tweets(self) -> list[Json]:
        return list(self.database["tweets"].find().sort("_id"))

    def get(self, number: int) -> Json:
        found = self.database["tweets"].find_one({"_id": object_id(number)})
        assert found is not None
        return found

    def until_done(self, process: subprocess.Popen[str], records: int) -> None:
        """Wait until so many records are stored."""
        deadline = time.monotonic() + 60
        while ((self.state() or {}).get("done", 0)) < records:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def assert_counts_are_exact(self) -> None:
        """`tweet_counts` says of every tweet what there is."""
        there = {document["_id"]: document for document in self.tweets()}
        expected: dict[ObjectId, Counter[str]] = {}
        for document in there.values():
            for name, kind in (("reply_to", "replies"), ("repost_of", "reposts")):
                if document[name] in there:
                    expected.setdefault(document[name], Counter())[kind] += 1
        counted = {
            document.pop("_id"): Counter({kind: number for kind, number in document.items() if number})
            for document in self.database["tweet_counts"].find()
        }
        assert {tweet_id: counts for tweet_id, counts in counted.items() if counts} == expected

    def assert_threads_are_whole(self) -> None:
        there = {document["_id"]: document for document in self.tweets()}
        for document in there.values():
            chain: list[ObjectId] = []
            above = document["reply_to"]
            while above is not None:
                chain.insert(0, above)
                above = there[above]["reply_to"] if above in there else None
            assert document["ancestors"] == chain[-100:]


@pytest.fixture(scope="module")
def target_url(mongodb_url: str) -> Iterator[str]:
    url = mongodb_url.replace("/?", f"/import_test_{secrets.token_hex(4)}?")
    yield url
    with pymongo.MongoClient[Json](url) as client:
        client.drop_database(client.get_default_database().name)


@pytest.fixture
def target(target_url: str, tmp_path: Path) -> Iterator[Target]:
    with pymongo.MongoClient[Json](target_url, tz_aware=True) as client:
        database = client.get_default_database()
        for collection in database.list_collection_names():
            # Keeps the indexes, which take longer to make.
            database[collection].delete_many({})
        yield Target(target_url, database, tmp_path)


def counts_of(**counts: int) -> Json:
    return {name: counts.get(name, 0) for name in COUNTS}


# --- what arrives


def test_tweet_is_stored_as_the_service_stores_its_own(target: Target) -> None:
    outcome = target.load(tweet(7, text="hi #Tandem @bob &amp; all", lang="en", in_reply_to_status_id=3))
    assert (outcome.code, outcome.counts, outcome.rejects) == (0, counts_of(inserted=1), [])
    stored = target.get(7)
    assert isinstance(stored.pop("import_digest"), bytes)
    assert stored.pop("created_at").isoformat() == "2010-09-02T18:11:23+00:00"
    assert stored == {
        "_id": object_id(7),
        "text": "hi #Tandem @bob & all",
        "author_id": "imported:42",
        "edited_at": None,
        "version": 1,
        "reply_to": object_id(3),
        "repost_of": None,
        "quote_of": None,
        "entities": {
            "hashtags": [{"tag": "Tandem", "start": 3, "end": 10}],
            "mentions": [{"username": "bob", "start": 11, "end": 15}],
            "urls": [],
        },
        "tags": ["tandem"],
        "ancestors": [object_id(3)],
        "lang": "en",
        "source": "web",
        "edits": [],
    }


async def test_imported_tweet_and_its_author_are_read_over_http(
    anonymous: httpx.AsyncClient, documents: Database[Json], database_url: str, tmp_path: Path
) -> None:
    target = Target(database_url, documents, tmp_path)
    target.load(
        tweet(7_001, user={"id": 77, "screen_name": "grace_2010", "name": "Grace"}),
        tweet(7_002, in_reply_to_status_id=7_001),
        tweet(7_003, retweeted_status=tweet(7_001)),
    )
    shown = (await anonymous.get(f"/v1/tweets/{object_id(7_001)}")).json()
    assert shown["author"] == {"id": "imported:77", "username": "grace_2010", "name": "Grace"}
    assert (shown["author_deleted"], shown["counts"]) == (False, {"likes": 0, "reposts": 1, "replies": 1})
    assert shown["created_at"] == "2010-09-02T18:11:23.000000Z"
    listed = (await anonymous.get("/v1/tweets", params={"author": "grace_2010"})).json()
    assert [each["id"] for each in listed["items"]] == [str(object_id(7_001))]


def test_repost_brings_its_original(target: Target) -> None:
    original = tweet(5, user={"id": 1, "screen_name": "bob", "name": "Bob"})
    outcome = target.load(
        tweet(8, text="RT @bob: number 5", retweeted_status=original), tweet(9, retweeted_status=original)
    )
    assert outcome.counts == counts_of(inserted=2, originals=1)
    assert [each["text"] for each in target.tweets()] == ["number 5", "RT @bob: number 5", "number 9"]
    assert target.get(8)["repost_of"] == object_id(5)
    counts = target.database["tweet_counts"].find_one({"_id": object_id(5)})
    assert counts == {"_id": object_id(5), "reposts": 2}


def test_tweet_of_its_own_goes_before_the_one_inside_another(target: Target) -> None:
    inside = tweet(5, text="as it was", user={"id": 1, "screen_name": "bob"})
    own = tweet(5, text="as it is", user={"id": 1, "screen_name": "bob"})
    assert target.load(tweet(8, retweeted_status=inside), own).counts == counts_of(inserted=2)
    assert target.get(5)["text"] == "as it is"
    # And stays, however often the other is seen.
    assert target.load(tweet(9, retweeted_status=inside)).counts == counts_of(inserted=1)
    assert target.get(5)["text"] == "as it is"


def test_profile_is_the_one_seen_last(target: Target) -> None:
    def by(number: int, name: str) -> Json:
        return tweet(number, user={"id": 42, "screen_name": name, "name": name.title()})

    target.load(by(1, "former"), by(9, "latest"), by(5, "between"), tweet(10, user={"id": 42}))
    target.load(by(4, "older"), batch=1)
    (profile,) = target.database["imported_profiles"].find()
    assert (profile["_id"], profile["username"], profile["name"]) == ("imported:42", "latest", "Latest")
    target.load(by(11, "renamed"))
    assert target.database["imported_profiles"].distinct("username") == ["renamed"]


def test_import_makes_no_account(target: Target) -> None:
    target.load(tweet(1))
    assert {"users", "users_copy"}.isdisjoint(target.database.list_collection_names())


# --- again, and changed


def test_second_import_changes_nothing(target: Target) -> None:
    records = [
        tweet(1),
        tweet(2, in_reply_to_status_id=1),
        tweet(3, retweeted_status=tweet(1)),
        tweet(4, retweeted_status=tweet(0x100, id_str=None) | {"id": 2_000_000} | {"id": 3}),
        b"nonsense",
    ]
    first = target.load(*records)
    before = [
        list(target.database[name].find().sort("_id")) for name in ("tweets", "tweet_counts", "imported_profiles")
    ]
    second = target.load(*records, batch=2)
    after = [list(target.database[name].find().sort("_id")) for name in ("tweets", "tweet_counts", "imported_profiles")]
    assert after == before
    assert second.counts == counts_of(skipped=first.counts["inserted"], rejected=first.counts["rejected"])
    assert second.rejects == first.rejects


def test_changed_record_is_an_edit(target: Target) -> None:
    target.load(tweet(1), tweet(2), tweet(3))
    outcome = target.load(tweet(1), tweet(2, text="corrected"), tweet(3, source="elsewhere"))
    assert outcome.counts == counts_of(skipped=1, updated=2)
    assert target.get(1)["version"] == 1
    corrected, moved = target.get(2), target.get(3)
    assert (corrected["text"], corrected["version"]) == ("corrected", 2)
    assert corrected["edited_at"] is not None
    assert corrected["edits"] == [{"text": "number 2", "edited_at": corrected["edited_at"]}]
    assert (moved["source"], moved["version"], moved["edited_at"], moved["edits"]) == ("elsewhere", 2, None, [])


def test_changed_reference_is_counted_anew(target: Target) -> None:
    target.load(tweet(1), tweet(2), tweet(5, in_reply_to_status_id=1))
    target.load(tweet(5, in_reply_to_status_id=2))
    target.assert_counts_are_exact()
    target.assert_threads_are_whole()
    assert target.get(5)["ancestors"] == [object_id(2)]


@pytest.mark.parametrize("seed", range(6))
def test_threads_and_counts_are_right_in_whatever_order_and_parts_records_come(target: Target, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    records = []
    for number in range(1, 60):
        more: Json = {}
        if number > 1 and dice.random() < 0.7:
            more["in_reply_to_status_id"] = dice.randrange(1, number)
        elif number > 1 and dice.random() < 0.5:
            more["retweeted_status"] = tweet(dice.randrange(1, number))
        records.append(tweet(number, **more))
    originals = {
        each["retweeted_status"]["id"]: each["retweeted_status"] for each in records if "retweeted_status" in each
    }
    dice.shuffle(records)
    cut = dice.randrange(1, len(records))
    for part in (records[:cut], records[cut:], records):
        target.load(*part, batch=dice.choice([1, 3, 20, 1000]))
        target.assert_counts_are_exact()
    assert len(target.tweets()) == 59
    assert originals
    target.assert_threads_are_whole()


async def test_replies_of_living_people_are_counted_and_kept_in_the_thread(
    ada: httpx.AsyncClient, documents: Database[Json], database_url: str, tmp_path: Path
) -> None:
    target = Target(database_url, documents, tmp_path)
    records = [tweet(8_001), tweet(8_002, in_reply_to_status_id=8_001), tweet(8_003, in_reply_to_status_id=8_002)]
    target.load(records[2])
    answer = await ada.post("/v1/tweets", json={"text": "yes", "reply_to": str(object_id(8_003))})
    assert answer.status_code == 201, answer.text
    for _ in range(2):
        target.load(*records)
    reply = documents["tweets"].find_one({"_id": ObjectId(answer.json()["id"])})
    assert reply is not None
    assert reply["ancestors"] == [object_id(number) for number in (8_001, 8_002, 8_003)]
    for number in (8_001, 8_002, 8_003):
        counts = documents["tweet_counts"].find_one({"_id": object_id(number)})
        assert counts is not None
        assert counts["replies"] == 1


async def test_tweet_that_was_deleted_and_is_imported_again_counts_what_there_is(
    anonymous: httpx.AsyncClient, issuer: Issuer, documents: Database[Json], database_url: str, tmp_path: Path
) -> None:
    target = Target(database_url, documents, tmp_path)
    records = [tweet(9_001), tweet(9_002, in_reply_to_status_id=9_001)]
    target.load(*records)
    admin = {"Authorization": f"Bearer {issuer.token(sub='u-admin', role='admin')}"}
    assert (await anonymous.delete(f"/v1/tweets/{object_id(9_001)}", headers=admin)).status_code == 204
    assert target.load(*records).counts == counts_of(inserted=1, skipped=1)
    counts = documents["tweet_counts"].find_one({"_id": object_id(9_001)})
    assert counts == {"_id": object_id(9_001), "replies": 1}


# --- faults


def test_each_fault_is_told_and_the_rest_imported(target: Target) -> None:
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
    assert outcome.rejects[4]["reason"] == "id: duplicate, line 1 has it"
    assert json.loads(outcome.rejects[1]["record"])["text"] == 12


def test_rejected_record_is_shown_in_part(target: Target) -> None:
    (reject,) = target.load(b"x" * 100_000, tweet(1)).rejects
    assert reject["record"] == "x" * 2000


@pytest.mark.parametrize("wrapping", ["array", "pretty array", "gzip", "gzip of an array"])
def test_file_of_every_kind(target: Target, wrapping: str) -> None:
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


def test_gzip_file_that_is_cut_off_is_imported_as_far_as_it_goes(target: Target) -> None:
    path = target.path / "tweets.json.gz"
    write_dataset(200, 1, path, is_canonical=True)
    path.write_bytes(path.read_bytes()[:-2000])
    outcome = target.load_file(path)
    assert outcome.code == 0
    assert 100 < outcome.counts["inserted"] < 200
    assert outcome.rejects[-1]["reason"] == "the compressed file is cut off here"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,text\n1,hello\n", b"[]", b"\x89PNG\r\n\x1a\n" + bytes(99)])
def test_file_without_any_tweet_is_an_error(target: Target, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = target.path / "strange"
    path.write_bytes(content)
    assert target.load_file(path).code == 1
    assert "error: there is no usable record in the file" in capsys.readouterr().err


def test_file_that_is_not_there_is_an_error(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ImportSettings(mongodb_url=target.url)  # type: ignore[arg-type]  # pydantic converts
    assert import_dataset(target.path / "none", None, 10, settings) == 1
    assert import_dataset(target.path, None, 10, settings) == 1
    assert "No such file" in capsys.readouterr().err


def test_rejects_never_replace_another_file(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ImportSettings(mongodb_url=target.url)  # type: ignore[arg-type]  # pydantic converts
    path = target.write(tweet(1))
    precious = target.write(b"precious", name="notes.txt")
    for rejects in (path, precious, target.path / "no folder" / "x"):
        assert import_dataset(path, rejects, 10, settings) == 1
    assert precious.read_bytes() == b"precious\n"
    assert "notes.txt: is there, and no file of rejects" in capsys.readouterr().err


def test_database_that_does_not_answer_is_an_error(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_STARTUP", Retrier(on=is_temporary, backoff=Backoff(0.5, 0.5), attempts=1))
    settings = ImportSettings(mongodb_url="mongodb://127.0.0.1:9/tweets")  # type: ignore[arg-type]  # pydantic converts
    assert import_dataset(target.write(tweet(1)), None, 10, settings) == 1
    assert "error: MongoDB does not answer" in capsys.readouterr().err


@pytest.mark.integration
def test_command_without_a_database_says_which_setting_is_missing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MONGODB_URL"}
    done = subprocess.run(
        [PROGRAM, "import", tmp_path / "x"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error: the configuration is not valid: MONGODB_URL: Field required\n",
    )


# --- interrupted


@pytest.fixture
def long_file(target: Target) -> Path:
    """3,000 records, of which some are rejected, in a file that takes a while in small batches."""
    path = target.path / "long.json"
    write_dataset(2_970, 5, path, is_canonical=False)
    lines = path.read_bytes().splitlines()
    for number in range(30):
        lines.insert(number * 100, b'{"id": "bad %d"}' % number)
    path.write_bytes(b"\n".join(lines))
    return path


def assert_long_file_is_there(target: Target, outcome: Outcome) -> None:
    assert outcome.code == 0
    assert {**outcome.counts, "originals": 0} == counts_of(inserted=2_970, rejected=30)
    assert [each["line"] for each in outcome.rejects] == [number * 100 + 1 for number in range(30)]
    assert target.database["tweets"].count_documents({}) == 2_970 + outcome.counts["originals"]
    target.assert_counts_are_exact()
    target.assert_threads_are_whole()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_interrupted_import_is_continued(target: Target, long_file: Path, number: signal.Signals, code: int) -> None:
    process = target.start(long_file, "--batch", "5")
    target.until_done(process, 500)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    state = target.state()
    assert state is not None
    assert 500 <= state["done"] < 3_000
    if code == 130:
        assert f"{state['done']:,} records" in out
        assert "Interrupted. The same command again continues here." in out

    process = target.start(long_file, "--batch", "500")
    out, err = process.communicate(timeout=60)
    assert f"Continuing behind the first {state['done']:,} records." in out
    assert "3,000 records" in out, err
    assert_long_file_is_there(target, target.outcome(long_file, process.returncode))
    assert target.load_file(long_file).counts == counts_of(skipped=2_970, rejected=30)


def test_import_waits_for_a_database_that_is_away(target: Target, long_file: Path, stack: Stack) -> None:
    process = target.start(long_file, "--batch", "5")
    try:
        target.until_done(process, 500)
        stack.kill("mongo")
        assert process.stderr is not None
        assert "MongoDB does not answer" in process.stderr.readline()
    finally:
        stack.start("mongo")
    out, err = process.communicate(timeout=90)
    assert "3,000 records" in out, err
    assert_long_file_is_there(target, target.outcome(long_file, process.returncode))


# --- at the same time


def test_two_imports_at_a_time_count_right(target: Target) -> None:
    records = [tweet(number, in_reply_to_status_id=number - 1) for number in range(2, 400)]
    halves = [target.write(*records[::2], name="even.json"), target.write(*records[1::2], name="odd.json")]
    processes = [target.start(path, "--batch", "7") for path in halves]
    for process in processes:
        _out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(target.tweets()) == 398
    target.assert_counts_are_exact()


def test_second_process_takes_the_same_import_over(target: Target, long_file: Path) -> None:
    # It is far from its end when the other one has started.
    first = target.start(long_file, "--batch", "5")
    target.until_done(first, 250)
    second = target.start(long_file, "--batch", "100")
    with ThreadPoolExecutor(2) as waiting:
        (_, first_err), (_, second_err) = waiting.map(lambda process: process.communicate(timeout=90), (first, second))
    assert (first.returncode, first_err) == (1, "error: another process has taken over the import of this file\n")
    assert second.returncode == 0, second_err
    assert target.database["tweets"].count_documents({"_id": {"$gte": object_id(22_819_396_000)}}) == 2_970
    target.assert_counts_are_exact()


# --- all of it


@pytest.mark.long
def test_whole_dataset_arrives_row_by_row(target: Target) -> None:
    path = target.path / "tweets.json.gz"
    subprocess.run([PROGRAM, "generate-dataset", "--count", "24832", "--seed", "1", "--output", path], check=True)
    outcome = target.load_file(path)
    assert (outcome.code, outcome.rejects) == (0, [])
    assert outcome.counts["inserted"] == 24_832

    stored = {document["_id"]: document for document in target.database["tweets"].find()}
    expected: dict[int, str] = {}
    for document in generated(24_832, 1, is_canonical=False):
        if "retweeted_status" in document:
            expected.setdefault(document["retweeted_status"]["id"], document["retweeted_status"]["text"])
        expected[document["id"]] = document["text"]
    assert len(stored) == len(expected) == 24_832 + outcome.counts["originals"]
    for number, text in expected.items():
        unescaped = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        assert stored[object_id(number)]["text"] == unescaped
    target.assert_counts_are_exact()
    target.assert_threads_are_whole()
    authors = set(target.database["tweets"].distinct("author_id"))
    assert authors == set(target.database["imported_profiles"].distinct("_id"))


@pytest.mark.integration
def test_dataset_on_the_standard_output_may_be_cut_short() -> None:
    command = f"{PROGRAM} generate-dataset --count 5000 --relaxed | head -n 3"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert [json.loads(line)["id"] > 0 for line in done.stdout.splitlines()] == [True] * 3
    assert done.stderr == ""
