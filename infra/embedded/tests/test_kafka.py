"""The embedded broker as a process, and with a damaged data folder."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from embedded_stack import Stack, StackError
from support.stacks import stack_in


def test_pid_is_that_of_apache_kafka(stack: Stack, kafka_bootstrap_servers: str) -> None:
    process = psutil.Process(int((stack.configuration.state / "run" / "kafka.pid").read_text()))
    assert Path(process.exe()).name == "java"
    assert "kafka.Kafka" in process.cmdline()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose broker was started after a format that was cut off."""
    with stack_in(tmp_path_factory.mktemp("own")) as own:
        logs = own.configuration.data("kafka") / "logs"
        logs.mkdir(parents=True)
        (logs / "bootstrap.checkpoint").write_text("cut o")
        (logs / "meta.properties").touch()
        own.start("kafka")
        yield own


@pytest.mark.integration
def test_incompletely_formatted_folder_is_formatted(own: Stack) -> None:
    assert own.is_running("kafka")


@pytest.mark.integration
def test_data_without_a_cluster_id_is_an_error_and_is_not_changed(own: Stack) -> None:
    own.stop_one("kafka")
    logs = own.configuration.data("kafka") / "logs"
    identity = (logs / "meta.properties").read_text()
    for damage in ((logs / "meta.properties").unlink, lambda: (logs / "meta.properties").write_text("")):
        damage()
        with pytest.raises(StackError, match=r"meta\.properties is missing or empty.*delete that folder"):
            own.start("kafka")
        (logs / "meta.properties").write_text(identity)
    own.start("kafka")


@pytest.mark.integration
def test_later_broker_loads_its_classes_from_an_archive(own: Stack) -> None:
    def archives() -> list[str]:
        process = own.processes["kafka"].running()
        assert process is not None
        return [each.path for each in process.memory_maps() if each.path.endswith("-classes/kafka.jsa")]

    for _ in range(5):
        if archives():
            break
        # No broker has stopped before, or that of another test process writes the archive now.
        own.restart("kafka")
    assert archives()
