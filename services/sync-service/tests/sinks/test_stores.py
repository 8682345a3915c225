"""The connections of the routes."""

from collections.abc import Mapping

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.routes.config import Route
from sync_service.sinks.registry import Stores


async def test_route_that_is_added_again_keeps_its_connections(
    routes: Mapping[str, Route], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections of removed routes are closed one after the other, and that takes time."""
    stores = Stores("mysql://a:b@127.0.0.1:1/copies", "mongodb://127.0.0.1:1/copies")
    removed = [routes["tweets"], routes["likes"]]
    for route in removed:
        stores.sink(route)
    former, closed = dict(stores._engines), []
    dispose = AsyncEngine.dispose

    async def adding(engine: AsyncEngine) -> None:
        if not closed:
            for route in removed:
                stores.sink(route)
        closed.append(engine)
        await dispose(engine)

    monkeypatch.setattr(AsyncEngine, "dispose", adding)
    await stores.keep([])
    assert set(closed) == set(former.values())
    assert stores._engines.keys() == former.keys()
    await stores.close()
    assert set(stores._engines.values()) <= set(closed)
