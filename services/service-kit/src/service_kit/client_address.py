"""The address of a client, and the network that limits count."""

import ipaddress
from functools import lru_cache

from starlette.requests import HTTPConnection

# Addresses that one party usually owns: it gets an IPv6 network of 64 bits at least (RFC 6177).
_IPV6_PREFIX = 64


def client_address(connection: HTTPConnection) -> str:
    """The IP address of the client; empty if unknown. An IPv4 address that is mapped into IPv6 is an IPv4 address."""
    return "" if connection.client is None else _parsed(connection.client.host)[0]


def client_network(connection: HTTPConnection) -> str:
    """The network of the client, which every limit by address counts: see `network_of`."""
    return "" if connection.client is None else _parsed(connection.client.host)[1]


def network_of(address: str) -> str:
    """An IPv4 address itself, or the network of 64 bits of an IPv6 address; empty if it is not an address."""
    return _parsed(address)[1]


@lru_cache(maxsize=4096)
def _parsed(host: str) -> tuple[str, str]:
    """The address and its network. Cached, because parsing would cost a read a tenth of its time."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a proxy may send any text
        return "", ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            # The zone of a link-local address is no part of a network.
            network = ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False)
            return str(address), str(network)
        address = address.ipv4_mapped
    return str(address), str(address)
