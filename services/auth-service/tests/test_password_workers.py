"""The default number of threads that hash passwords: each needs memory of its own."""

import pytest

from auth_service.settings import Settings

CONTAINER_MIB = 512


def workers() -> int:
    settings = Settings(mysql_url="mysql://a:b@127.0.0.1:1/auth")  # type: ignore[arg-type]  # pydantic converts
    return settings.auth_password_workers


@pytest.mark.parametrize(
    ("cores", "memory_kib", "expected"), [(1, 19456, 1), (4, 19456, 4), (64, 19456, 13), (64, 65536, 4), (64, 2**20, 1)]
)
def test_there_is_a_thread_per_core_as_far_as_the_memory_suffices(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory_kib: int, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: range(cores))
    monkeypatch.setenv("AUTH_ARGON2_MEMORY_KIB", str(memory_kib))
    assert workers() == expected
    if expected > 1:
        assert expected * memory_kib <= CONTAINER_MIB * 1024 // 2


def test_number_of_threads_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_PASSWORD_WORKERS", "40")
    assert workers() == 40
