"""Programs that a test runs beside a service under load, each a process of its own: none delays another's event loop.

`python load.py logins URL` reads `[{"login": …, "password": …}, …]` as JSON, logs in to each, 50 at a time, again
where the answer is 503, and prints how often each status was the answer. `python load.py control PORT` answers every
request with nothing, and does nothing else.
"""

import asyncio
import json
import os
import sys
from collections import Counter

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

CONCURRENCY = 50


async def log_in_to_each(url: str, logins: list[dict[str, str]]) -> Counter[int]:
    statuses: Counter[int] = Counter()
    waiting = iter(logins)

    async def one_after_the_other(client: httpx.AsyncClient) -> None:
        for login in waiting:
            answer = await client.post("/v1/login", json=login)
            if answer.status_code == 503:
                statuses[503] += 1
                await asyncio.sleep(int(answer.headers["Retry-After"]))
                answer = await client.post("/v1/login", json=login)
            statuses[answer.status_code] += 1

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await asyncio.gather(*(one_after_the_other(client) for _ in range(CONCURRENCY)))
    return statuses


async def answer_nothing(scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["logins", url]:
            # The load generator must not delay the service on this machine.
            os.nice(5)
            print(json.dumps(asyncio.run(log_in_to_each(url, json.load(sys.stdin)))))
        case ["control", port]:
            uvicorn.run(answer_nothing, port=int(port), lifespan="off", log_config=None)
