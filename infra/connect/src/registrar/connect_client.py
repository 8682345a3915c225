"""The part of Kafka Connect's REST API that the registrar uses."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from registrar.redaction import redact
from registrar.state import RESETTING
from service_kit.retry import Backoff, Retrier

# A rebalance is in progress; a later attempt succeeds.
_CONFLICT = 409
_NOT_FOUND = 404
# Debezium connects to the database to validate a configuration; MongoDB's driver waits 30 s for a server.
_CHANGE_TIMEOUT_SECONDS = 60.0
_BACKOFF = Backoff(initial=0.5, maximum=0.5, jitter=0.0)
# Prefixes of Connect's and Debezium's messages without information.
_PREAMBLE = re.compile(r"^The '[^']*' value is invalid: ")
_EXCEPTION = re.compile(r"^(?:[a-z]\w*\.)+[A-Z]\w*: (?=\S)")
_UNKNOWN_CLASS = "Failed to find any class that implements Connector"


class ConnectorRefused(Exception):  # noqa: N818 - an answer of Connect, not a fault of the program
    """Connect refuses a connector or an operation on it. The message gives the reason, without secrets."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ConnectClient:
    """Raises `httpx.HTTPError` if Connect does not answer, or answers a query with an error."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def connectors(self) -> dict[str, dict[str, Any]]:
        """Every connector by its name, with `info` (its config) and `status`."""
        answer = await self._client.get("/connectors", params=[("expand", "info"), ("expand", "status")])
        answer.raise_for_status()
        connectors: dict[str, dict[str, Any]] = answer.json()
        return connectors

    async def offsets(self, name: str) -> list[dict[str, Any]]:
        """The positions that the connector has committed, one for each part of its source."""
        answer = await self._client.get(f"/connectors/{name}/offsets")
        answer.raise_for_status()
        return [entry["offset"] or {} for entry in answer.json()["offsets"]]

    async def put(self, name: str, config: Mapping[str, str]) -> None:
        """Create or change a connector. Raises `ConnectorRefused`, which names each invalid option.

        The configuration is validated first: for an invalid one Kafka Connect 4.3 answers with a NullPointerException
        if the connector hides one of its options, as Debezium 3.6 does.
        """
        answer = await self._client.put(
            f"/connector-plugins/{config['connector.class']}/config/validate",
            json={"name": name, **config},
            timeout=_CHANGE_TIMEOUT_SECONDS,
        )
        if answer.is_error and _UNKNOWN_CLASS in answer.text:
            # Without the list of all connectors that follows in the answer.
            raise ConnectorRefused(f"connector.class: Kafka Connect has no connector {config['connector.class']}")
        self._check(answer, config)
        if invalid := _invalid_options(answer, config):
            raise ConnectorRefused("; ".join(invalid))
        self._check(await self._put_config(name, config), config)

    async def restart(self, name: str, config: Mapping[str, str]) -> None:
        """Restart the connector and all its tasks, whatever their state. Raises `ConnectorRefused`."""
        parameters = {"includeTasks": "true", "onlyFailed": "false"}
        answer = await self._client.post(
            f"/connectors/{name}/restart", params=parameters, timeout=_CHANGE_TIMEOUT_SECONDS
        )
        self._check(answer, config)

    async def delete(self, name: str, config: Mapping[str, str]) -> None:
        """Delete the connector. Connect keeps its offsets. Raises `ConnectorRefused`."""
        answer = await self._client.delete(f"/connectors/{name}", timeout=_CHANGE_TIMEOUT_SECONDS)
        if answer.status_code != _NOT_FOUND:
            self._check(answer, config)

    async def reset(self, name: str, config: Mapping[str, str]) -> None:
        """Delete the connector's offsets, so that it takes a new snapshot. Raises `ConnectorRefused`.

        In the meantime the connector is STOPPED and has the mark `RESETTING` in its configuration. If Connect or this
        process ends halfway, the mark says that no operator stopped the connector: call `reset` again.
        """
        await self._retry(lambda: self._put_config(name, {**config, **RESETTING}), config)
        # Connect deletes offsets only of a connector that is STOPPED.
        await self._retry(lambda: self._client.put(f"/connectors/{name}/stop"), config)
        try:
            # Until the connector's tasks have ended Connect refuses it, and not as a conflict.
            await self._retry(lambda: self._client.delete(f"/connectors/{name}/offsets"), config, retry_all=True)
        finally:
            await self._retry(lambda: self._client.put(f"/connectors/{name}/resume"), config)
        # The mark is removed last: without it a connector that is STOPPED would stay stopped.
        self._check(await self._put_config(name, config), config)

    async def _put_config(self, name: str, config: Mapping[str, str]) -> httpx.Response:
        return await self._client.put(f"/connectors/{name}/config", json=dict(config), timeout=_CHANGE_TIMEOUT_SECONDS)

    @staticmethod
    async def _retry(
        send: Callable[[], Awaitable[httpx.Response]], config: Mapping[str, str], *, retry_all: bool = False
    ) -> None:
        """Retry a conflict, or every refusal, for a minute. Raises `ConnectorRefused`."""

        async def attempt() -> None:
            answer = await send()
            if answer.is_error:
                raise ConnectorRefused(_refusal(answer, config), answer.status_code)

        def is_retryable(error: Exception) -> bool:
            return isinstance(error, ConnectorRefused) and (retry_all or error.status == _CONFLICT)

        await Retrier(on=is_retryable, backoff=_BACKOFF, timeout=_CHANGE_TIMEOUT_SECONDS).run(attempt)

    @staticmethod
    def _check(answer: httpx.Response, config: Mapping[str, str]) -> None:
        if answer.is_error and answer.status_code != _CONFLICT:
            raise ConnectorRefused(_refusal(answer, config))


def _refusal(answer: httpx.Response, config: Mapping[str, str]) -> str:
    return f"{answer.status_code} {redact(_message(answer), config)}"


def _invalid_options(answer: httpx.Response, config: Mapping[str, str]) -> list[str]:
    """One text `option: errors` for each invalid option. A value is null if the connector hides the option."""
    values = [option["value"] for option in answer.json().get("configs", ()) if option.get("value")]
    return [
        redact(f"{value['name']}: {', '.join(dict.fromkeys(_PREAMBLE.sub('', error) for error in errors))}", config)
        for value in values
        if (errors := value.get("errors"))
    ]


def _message(answer: httpx.Response) -> str:
    """Connect's `message`, or the whole text if the answer has none."""
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text
    return _EXCEPTION.sub("", message)
