"""The copies of a running system are proven equal to their sources all the time."""

from typing import Any

import httpx

from e2e.users import User
from embedded_stack import Stack
from support.polling import eventually


async def test_every_copy_is_proven_equal_by_itself(running_stack: Stack, user: User) -> None:
    await user.tweet("a row to prove")
    async with httpx.AsyncClient(base_url=running_stack.addresses["SYNC_URL"]) as client:

        async def proofs() -> dict[str, Any]:
            status = (await client.get("/v1/status")).json()
            return {route["name"]: route["proof"] for route in status["routes"]}

        def are_complete(found: dict[str, Any]) -> bool:
            return all(proof is not None and proof["oldest_at"] is not None for proof in found.values())

        found = await eventually(proofs, are_complete)
    assert {"users", "tweets"} <= found.keys()
    assert {name: (proof["share"], proof["different"]) for name, proof in found.items()} == dict.fromkeys(
        found, (1.0, 0)
    )
