"""Kafka Connect's REST interface, as far as the registrar uses it."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from registrar.observation import RESETTING
from registrar.redaction import redact

# A rebalance is in progress; the next attempt follows.
_CONFLICT = 409
# To check a configuration, Debezium connects to the database; MongoDB's driver looks for a server for 30 s.
_CHANGE_TIMEOUT_SECONDS = 60.0
_RETRY_SECONDS = 0.5
# What Connect and Debezium repeat before they say what is wrong.
_PREAMBLE = re.compile(r"^The '[^']*' value is invalid: ")
_EXCEPTION = re.compile(r"^(?:[a-z]\w*\.)+[A-Z]\w*: (?=\S)")
_UNKNOWN_CLASS = "Failed to find any class that implements Connector"


class ConnectorRefused(Exception):  # noqa: N818 - an answer of Connect, not a fault of the program
    """Connect does not take a connector or a restart of it; the message says why, without secrets."""


class ConnectClient:
    """Raises `httpx.HTTPError` if Connect does not answer, or answers a question with an error."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def connectors(self) -> dict[str, dict[str, Any]]:
        """Every connector by its name, with `info` (its config) and `status`."""
        answer = await self._client.get("/connectors", params=[("expand", "info"), ("expand", "status")])
        answer.raise_for_status()
        known: dict[str, dict[str, Any]] = answer.json()
        return known

    async def put(self, name: str, config: Mapping[str, str]) -> None:
        """Raises `ConnectorRefused`, which names each option that is wrong.

        They are asked for first: Kafka Connect 4.3 answers a wrong configuration with a NullPointerException where the
        connector hides one of its options, as Debezium 3.6 does.
        """
        answer = await self._client.put(
            f"/connector-plugins/{config['connector.class']}/config/validate",
            json={"name": name, **config},
            timeout=_CHANGE_TIMEOUT_SECONDS,
        )
        if answer.is_error and _UNKNOWN_CLASS in answer.text:
            # A list of all that it has follows.
            raise ConnectorRefused(f"connector.class: Kafka Connect has no connector {config['connector.class']}")
        self._check(answer, config)
        if wrong := _wrong_options(answer, config):
            raise ConnectorRefused("; ".join(wrong))
        self._check(await self._put_config(name, config), config)

    async def restart(self, name: str, config: Mapping[str, str]) -> None:
        """Restart the connector and all its tasks, whatever state they claim to be in. Raises `ConnectorRefused`."""
        parameters = {"includeTasks": "true", "onlyFailed": "false"}
        answer = await self._client.post(
            f"/connectors/{name}/restart", params=parameters, timeout=_CHANGE_TIMEOUT_SECONDS
        )
        self._check(answer, config)

    async def reset(self, name: str, config: Mapping[str, str]) -> None:
        """Delete the connector's offsets; it takes a new snapshot. Raises `ConnectorRefused`.

        Meanwhile the connector is STOPPED and has the mark `RESETTING` in its configuration. If Connect or this process
        goes away halfway, the mark says that no operator stopped it: call `reset` again.
        """
        await self._repeat(lambda: self._put_config(name, {**config, **RESETTING}), config)
        # Only those of a connector that is STOPPED may be deleted.
        await self._repeat(lambda: self._client.put(f"/connectors/{name}/stop"), config)
        try:
            # Refused, by another answer than a conflict, until the connector's tasks have ended.
            await self._repeat(lambda: self._client.delete(f"/connectors/{name}/offsets"), config, retry_all=True)
        finally:
            await self._repeat(lambda: self._client.put(f"/connectors/{name}/resume"), config)
        # Not before: without the mark a connector that is STOPPED stays so.
        self._check(await self._put_config(name, config), config)

    async def _put_config(self, name: str, config: Mapping[str, str]) -> httpx.Response:
        return await self._client.put(f"/connectors/{name}/config", json=dict(config), timeout=_CHANGE_TIMEOUT_SECONDS)

    @staticmethod
    async def _repeat(
        send: Callable[[], Awaitable[httpx.Response]], config: Mapping[str, str], *, retry_all: bool = False
    ) -> None:
        """Retry a conflict, or every refusal, for a minute. Raises `ConnectorRefused`."""
        deadline = time.monotonic() + _CHANGE_TIMEOUT_SECONDS
        while (answer := await send()).is_error:
            if not (retry_all or answer.status_code == _CONFLICT) or time.monotonic() > deadline:
                raise ConnectorRefused(_refusal(answer, config))
            await asyncio.sleep(_RETRY_SECONDS)

    @staticmethod
    def _check(answer: httpx.Response, config: Mapping[str, str]) -> None:
        if answer.is_error and answer.status_code != _CONFLICT:
            raise ConnectorRefused(_refusal(answer, config))


def _refusal(answer: httpx.Response, config: Mapping[str, str]) -> str:
    return f"{answer.status_code} {redact(_message(answer), config)}"


def _wrong_options(answer: httpx.Response, config: Mapping[str, str]) -> list[str]:
    """`option: what is wrong with it`, each once. A value is null if the connector hides the option."""
    values = [option["value"] for option in answer.json().get("configs", ()) if option.get("value")]
    return [
        redact(f"{value['name']}: {', '.join(dict.fromkeys(_PREAMBLE.sub('', error) for error in errors))}", config)
        for value in values
        if (errors := value.get("errors"))
    ]


def _message(answer: httpx.Response) -> str:
    """Connect's `message`, or whatever it says instead."""
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text
    return _EXCEPTION.sub("", message)
