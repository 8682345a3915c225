"""The command `sync-service doctor`. What takes long to import is imported by the checks that need it."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sync_service.arguments import positive_number
from sync_service.check_results import Result, all_passed, as_json, as_text

# The deadline of the checks of one server.
SECONDS = 10
DESCRIPTION = (
    "Checks the servers whose addresses are in the environment, the rights, topics, connectors and routes, and says "
    "what to do about each failure."
)
EPILOG = "Exit code 1: at least one check has failed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--timeout",
        type=positive_number,
        metavar="SECONDS",
        default=SECONDS,
        help="the longest time to wait for each server (%(default)s)",
    )


def main(arguments: Sequence[str]) -> None:
    """Print the results as they come, and exit."""
    parser = argparse.ArgumentParser(prog="sync-service doctor", description=DESCRIPTION, epilog=EPILOG)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    results: list[Result] = []

    def show(found: Sequence[Result]) -> None:
        results.extend(found)
        if not options.json:
            print("\n".join(map(as_text, found)), flush=True)

    async def check_all() -> None:
        await _check_all(show, options.timeout)
        # Before the end of the loop, which waits for names that are still being resolved.
        if options.json:
            print(as_json(results), flush=True)

    asyncio.run(check_all())
    sys.exit(0 if all_passed(results) else 1)


async def _check_all(show: Callable[[Sequence[Result]], None], seconds: int) -> None:
    """`seconds` is the deadline for each server."""
    from sync_service.doctor.http_checks import registrar_results, service_results  # noqa: PLC0415 - see above
    from sync_service.doctor.local_checks import disk_results, routes_of_other_servers, routes_results  # noqa: PLC0415 - see above
    from sync_service.routes.loader import default_routes_file  # noqa: PLC0415 - see above

    variables = os.environ
    file = Path(variables.get("SYNC_ROUTES_FILE") or default_routes_file())
    routes, found = routes_results(file)
    elsewhere = routes_of_other_servers(file) if routes else frozenset()
    show([*found, *disk_results(file)])
    service = variables.get("SYNC_URL") or f"http://127.0.0.1:{variables.get('PORT') or 8003}"
    token = variables.get("SYNC_OPERATOR_TOKEN")
    # A check that ends by itself names the reason.
    answer_seconds = seconds / 2
    asked = [
        registrar_results(variables.get("REGISTRAR_URL"), answer_seconds),
        service_results(service, token, answer_seconds, elsewhere),
    ]
    services = [
        asyncio.create_task(_in_time(name, work, seconds))
        for name, work in zip(("registrar", "sync-service"), asked, strict=True)
    ]
    for task in services:
        show(await task)
    for logger in ("aiokafka", "asyncmy"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    from sync_service.doctor.kafka_checks import kafka_results  # noqa: PLC0415 - see above
    from sync_service.sinks.mongodb.diagnosis import mongodb_results  # noqa: PLC0415 - see above
    from sync_service.sinks.mysql.diagnosis import mysql_results  # noqa: PLC0415 - see above

    def of(variable: str, server: str, check: Callable[[str], Awaitable[list[Result]]]) -> Awaitable[list[Result]]:
        address = variables.get(variable)
        return _in_time(server, check(address), seconds) if address else _unset(server, variable)

    mysql = "SYNC_MYSQL_URL" if variables.get("SYNC_MYSQL_URL") else "MYSQL_URL"
    stores = [
        asyncio.ensure_future(check)
        for check in (
            of(mysql, "MySQL", lambda address: mysql_results(address, routes, elsewhere)),
            of("MONGODB_URL", "MongoDB", lambda address: mongodb_results(address, routes, elsewhere, answer_seconds)),
            of("KAFKA_BOOTSTRAP_SERVERS", "Kafka", lambda _address: kafka_results(routes, answer_seconds)),
        )
    ]
    for check in stores:
        show(await check)


async def _unset(server: str, variable: str) -> list[Result]:
    return [Result(server, False, f"{variable} is not set", "on the embedded stack: set -a; . .stack/env; set +a")]


async def _in_time(server: str, work: Awaitable[list[Result]], seconds: int) -> list[Result]:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        return [Result(server, False, f"no answer within {seconds} s", "see whether it hangs, and its log")]
    except Exception as error:  # noqa: BLE001 - the other servers are checked all the same
        # Not its message, which may contain an address with its password.
        return [
            Result(server, False, f"it can't be checked: {type(error).__name__}", "see whether its address is right")
        ]
