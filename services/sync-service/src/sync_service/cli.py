"""The command `sync-service`.

`routes list` and `doctor` start without the imports of the other commands, which take a second.
"""

import sys


def main() -> None:
    """See `commands.main`."""
    if sys.argv[1:3] == ["routes", "list"]:
        from sync_service.routes.listing import main as list_routes  # noqa: PLC0415 - see above

        list_routes(sys.argv[3:])
    elif sys.argv[1:2] == ["doctor"]:
        from sync_service.doctor.cli import main as check_all  # noqa: PLC0415 - see above

        check_all(sys.argv[2:])
    else:
        from sync_service.commands import main as run  # noqa: PLC0415 - see above

        run()
