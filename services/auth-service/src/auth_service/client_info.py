"""The client of a request, as the audit trail and the list of sessions show it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service_kit.client_address import client_address, network_of
from service_kit.request_context import current_request_id

MAX_USER_AGENT_LENGTH = 200


@dataclass(frozen=True)
class ClientInfo:
    """`address` is an IP address, or empty if unknown. `user_agent` is truncated and printable."""

    address: str
    user_agent: str
    request_id: str

    @property
    def network(self) -> str:
        """What limits by address count: an IPv4 address, or an IPv6 network of 64 bits."""
        return network_of(self.address)


# This service itself, for actions that no request caused: commands and key rotation.
INTERNAL = ClientInfo(address="", user_agent="auth-service", request_id="")


async def _client_info(request: Request) -> ClientInfo:
    user_agent = request.headers.get("user-agent", "")
    printable = "".join(character for character in user_agent if character.isprintable())
    return ClientInfo(client_address(request), printable[:MAX_USER_AGENT_LENGTH], current_request_id())


ClientInfoDep = Annotated[ClientInfo, Depends(_client_info)]
