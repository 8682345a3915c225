"""The copies of a running system are proven equal to their sources all the time."""

from typing import Any

import httpx

from e2e.users import User
from embedded_stack import Stack
from support.polling import eventually


async def test_every_copy_is_proven_equal_by_itself(running_stack: Stack, user: User) -> None:
    await user.tweet("a row to prove")
    async with httpx.AsyncClient(base_url=running_stack.addresses["SYNC_URL"], timeout=60) as client:

        async def proofs() -> dict[str, Any]:
            status = (await client.get("/v1/status")).json()
            return {route["name"]: route["proof"] for route in status["routes"]}

        def is_equal(proof: dict[str, Any] | None) -> bool:
            # What a connector has not read yet differs, too, until it is compared again after a minute.
            return proof is not None and proof["oldest_at"] is not None and proof["different"] == 0

        found = await eventually(proofs, lambda found: all(map(is_equal, found.values())), within=180)
    assert {"users", "tweets"} <= found.keys()
    assert {proof["share"] for proof in found.values()} == {1.0}
