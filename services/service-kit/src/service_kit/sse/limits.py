"""How many streams a process has, and how many of them one client may have."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service_kit.sse.events import TooManyStreams, TooManyStreamsOfClient


@dataclass(frozen=True, kw_only=True)
class HubLimits:
    """Maximum numbers of subscribers of a process; `heartbeat_seconds` is the longest silence of a stream."""

    clients: int
    clients_per_address: int
    clients_per_account: int
    heartbeat_seconds: float


@dataclass(frozen=True)
class StreamClient:
    """Who opens a stream: the network of the address (`client_network`), and the account if there is a token."""

    network: str
    account: str | None = None


class OpenStreams:
    """Counts the open streams of each client."""

    def __init__(self, limits: HubLimits) -> None:
        self._limits = limits
        self._total = 0
        self._of_networks: Counter[str] = Counter()
        self._of_accounts: Counter[str] = Counter()

    @contextmanager
    def counted(self, client: StreamClient) -> Iterator[None]:
        """Count a stream during the context. Raises `TooManyStreamsOfClient`, `TooManyStreams`."""
        shares = [(self._of_networks, client.network, self._limits.clients_per_address)]
        if client.account is not None:
            shares.append((self._of_accounts, client.account, self._limits.clients_per_account))
        if any(counts[key] >= most for counts, key, most in shares):
            raise TooManyStreamsOfClient
        if self._total >= self._limits.clients:
            raise TooManyStreams
        self._total += 1
        for counts, key, _ in shares:
            counts[key] += 1
        try:
            yield
        finally:
            self._total -= 1
            for counts, key, _ in shares:
                counts[key] -= 1
                if not counts[key]:
                    del counts[key]
