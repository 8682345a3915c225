"""`support.polling.eventually`, by which tests wait."""

import httpx
import pytest

from support.polling import eventually

REQUEST = httpx.Request("GET", "http://component.test/")


async def test_component_that_restarts_is_asked_again() -> None:
    results = iter([httpx.ConnectError("refused"), ConnectionResetError(), httpx.Response(503, request=REQUEST), "up"])

    async def poll() -> str:
        match next(results):
            case Exception() as error:
                raise error
            case httpx.Response() as answer:
                return answer.raise_for_status().text
            case result:
                return str(result)

    assert await eventually(poll) == "up"


async def test_last_error_is_reported_when_the_time_is_over() -> None:
    async def poll() -> str:
        raise httpx.ConnectError("refused")

    with pytest.raises(AssertionError, match=r"not within 0 s; last error: ConnectError\('refused'\)"):
        await eventually(poll, within=0)


@pytest.mark.parametrize("error", [KeyError("routes"), AssertionError("a wrong state")])
async def test_other_errors_of_a_poll_are_raised(error: Exception) -> None:
    async def poll() -> None:
        raise error

    with pytest.raises(type(error)):
        await eventually(poll)


async def test_request_that_is_refused_is_an_error() -> None:
    async def poll() -> httpx.Response:
        return httpx.Response(404, request=REQUEST).raise_for_status()

    with pytest.raises(httpx.HTTPStatusError):
        await eventually(poll)


async def test_failure_shows_the_body_of_the_last_answer() -> None:
    async def poll() -> httpx.Response:
        return httpx.Response(503, text="mysql-users: connector FAILED")

    with pytest.raises(AssertionError, match=r"last result: <Response \[503 .*\]> mysql-users: connector FAILED"):
        await eventually(poll, lambda answer: answer.is_success, within=0)
