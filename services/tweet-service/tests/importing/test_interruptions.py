"""Imports that are interrupted, wait for MongoDB, or run at the same time."""

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pymongo.uri_parser
import pytest
from pymongo.errors import OperationFailure

from embedded_stack import Stack
from support.import_target import ImportTarget, Outcome, counts_of, tweet
from tweet_service.importing.mapping import object_id
from tweet_service.importing.repository import is_conflict, is_temporary


def assert_long_file_is_there(target: ImportTarget, outcome: Outcome) -> None:
    assert outcome.code == 0
    assert {**outcome.counts, "originals": 0} == counts_of(inserted=2_970, rejected=30)
    assert [each["line"] for each in outcome.rejects] == [number * 100 + 1 for number in range(30)]
    assert target.database["tweets"].count_documents({}) == 2_970 + outcome.counts["originals"]
    target.assert_counts_are_exact()
    target.assert_threads_are_whole()


@contextmanager
def paused(process: subprocess.Popen[str]) -> Iterator[None]:
    """However long this block takes on a busy machine, the process does not get further meanwhile."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def wait_until_connected(process: subprocess.Popen[str], target: ImportTarget) -> None:
    """Wait until the process has a connection to MongoDB."""
    ((_, port),) = pymongo.uri_parser.parse_uri(target.url)["nodelist"]
    deadline = time.monotonic() + 120
    while port not in {each.raddr.port for each in psutil.Process(process.pid).net_connections("tcp") if each.raddr}:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_interrupted_import_is_continued(
    target: ImportTarget, long_file: Path, number: signal.Signals, code: int
) -> None:
    process = target.start(long_file, "--batch", "5")
    target.wait_until_done(process, 500)
    process.send_signal(number)
    out, err = process.communicate(timeout=180)
    assert process.returncode == code, err
    state = target.state()
    assert state is not None
    assert 500 <= state["done"] < 3_000
    if code == 130:
        assert f"{state['done']:,} records" in out
        assert "Interrupted. Run the same command again to continue." in out

    process = target.start(long_file, "--batch", "500")
    out, err = process.communicate(timeout=180)
    assert f"Continuing after the first {state['done']:,} records." in out
    assert "3,000 records" in out, err
    assert_long_file_is_there(target, target.outcome(long_file, process.returncode))
    assert target.load_file(long_file).counts == counts_of(skipped=2_970, rejected=30)


def test_import_waits_while_the_database_is_down(target: ImportTarget, long_file: Path, stack: Stack) -> None:
    process = target.start(long_file, "--batch", "5")
    try:
        target.wait_until_done(process, 500)
        with paused(process):
            stack.kill("mongo")
        assert process.stderr is not None
        assert "MongoDB does not answer" in process.stderr.readline()
    finally:
        stack.start("mongo")
    out, err = process.communicate(timeout=180)
    assert "3,000 records" in out, err
    assert_long_file_is_there(target, target.outcome(long_file, process.returncode))


def test_import_that_waits_for_the_database_can_be_interrupted(
    target: ImportTarget, long_file: Path, stack: Stack
) -> None:
    process = target.start(long_file, "--batch", "5")
    try:
        target.wait_until_done(process, 500)
        with paused(process):
            stack.kill("mongo")
        assert process.stderr is not None
        assert "MongoDB does not answer" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=180)
    finally:
        stack.start("mongo")
    assert process.returncode == 130, err
    assert "Interrupted. Run the same command again to continue." in out


def test_two_imports_at_a_time_count_right(target: ImportTarget) -> None:
    records = [tweet(number, in_reply_to_status_id=number - 1) for number in range(2, 400)]
    halves = [target.write(*records[::2], name="even.json"), target.write(*records[1::2], name="odd.json")]
    processes = [target.start(path, "--batch", "7") for path in halves]
    for process in processes:
        _out, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
    assert len(target.tweets()) == 398
    target.assert_counts_are_exact()


def test_operation_that_a_takeover_interrupts_is_repeated_without_blaming_mongodb() -> None:
    """MongoDB labels only some of the operations that a killed session has had."""
    interrupted, refused = OperationFailure("operation was interrupted", 11601), OperationFailure("not authorized", 13)
    assert (is_temporary(interrupted), is_conflict(interrupted)) == (True, True)
    assert (is_temporary(refused), is_conflict(refused)) == (False, False)


def test_second_process_takes_over_the_import(target: ImportTarget, long_file: Path) -> None:
    first = target.start(long_file, "--batch", "5")
    target.wait_until_done(first, 250)
    # It is far from its end when the other one has started.
    with paused(first):
        second = target.start(long_file, "--batch", "100")
        wait_until_connected(second, target)
    with ThreadPoolExecutor(2) as waiting:
        (_, first_err), (_, second_err) = waiting.map(lambda process: process.communicate(timeout=180), (first, second))
    assert (first.returncode, first_err) == (1, "error: another process has taken over the import of this file\n")
    assert second.returncode == 0, second_err
    assert target.database["tweets"].count_documents({"_id": {"$gte": object_id(22_819_396_000)}}) == 2_970
    target.assert_counts_are_exact()
