"""A file that follows a packaged one until it is edited."""

from contextlib import suppress
from pathlib import Path

import pytest

from service_kit import seeded_file
from service_kit.files import write_atomically
from service_kit.seeded_file import record_of, seed_file


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    file = tmp_path / "packaged.yaml"
    file.write_text("release: 1\n")
    return file


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return tmp_path / "state" / "live.yaml"


def test_file_that_is_not_edited_follows_the_packaged_one(packaged: Path, live: Path) -> None:
    assert seed_file(live, packaged)
    assert live.read_text() == "release: 1\n"
    assert not seed_file(live, packaged)
    packaged.write_text("release: 2\n")
    assert seed_file(live, packaged)
    assert live.read_text() == "release: 2\n"
    live.unlink()
    assert seed_file(live, packaged)
    assert live.read_text() == "release: 2\n"
    assert sorted(each.name for each in live.parent.iterdir()) == ["live.yaml", "live.yaml.seed"]
    assert [each.stat().st_mode & 0o077 for each in live.parent.iterdir()] == [0, 0]


def test_edited_file_stays_until_the_edit_is_taken_back(packaged: Path, live: Path) -> None:
    seed_file(live, packaged)
    live.write_text("mine\n")
    for release in ("release: 1\n", "release: 2\n"):
        packaged.write_text(release)
        assert not seed_file(live, packaged)
        assert live.read_text() == "mine\n"
    live.write_text("release: 1\n")
    assert seed_file(live, packaged)
    assert live.read_text() == "release: 2\n"


def test_file_that_was_not_copied_stays(packaged: Path, live: Path) -> None:
    """Even one with the same content: its owner may have put it there."""
    live.parent.mkdir()
    live.write_text("release: 1\n")
    assert not seed_file(live, packaged)
    packaged.write_text("release: 2\n")
    assert not seed_file(live, packaged)
    assert live.read_text() == "release: 1\n"
    assert not record_of(live).exists()


def test_interrupted_copy_is_completed(packaged: Path, live: Path) -> None:
    seed_file(live, packaged)
    packaged.write_text("release: 2\n")
    live.write_text("release: 2\n")
    assert not seed_file(live, packaged)
    packaged.write_text("release: 3\n")
    assert seed_file(live, packaged)
    assert live.read_text() == "release: 3\n"


@pytest.mark.parametrize("written", range(1, 4))
def test_copy_that_was_interrupted_follows_the_release_after_the_next(
    packaged: Path, live: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The process may be killed after each file that it writes."""
    seed_file(live, packaged)
    packaged.write_text("release: 2\n")
    left = [None] * written

    def interrupted(path: Path, content: bytes) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        write_atomically(path, content)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(seeded_file, "write_atomically", interrupted)
        seed_file(live, packaged)
    packaged.write_text("release: 3\n")
    assert seed_file(live, packaged)
    assert live.read_text() == "release: 3\n"


def test_file_in_a_folder_that_is_no_folder_is_an_error(packaged: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"packaged\.yaml"):
        seed_file(packaged / "live.yaml", packaged)
    assert list(tmp_path.iterdir()) == [packaged]
