"""A stack: its components started in order of dependency, and each of them stopped, killed, paused alone."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy.engine import make_url

from embedded_stack.components import COMPONENTS, Component, Environment
from embedded_stack.components.base import LOOPBACK
from embedded_stack.configuration import StackConfiguration, port_is_free
from embedded_stack.credentials import Credentials, write_private
from embedded_stack.errors import StackError
from embedded_stack.process import ComponentProcess

_READINESS_POLL_SECONDS = 0.1

Progress = Callable[[str], None]


def silent(_line: str) -> None:
    """Tests don't watch."""


class Stack:
    """All components with one state folder.

    Components are named `mysql mongo kafka mail connect registrar sync auth tweet gateway`. What is running is
    read from the pid files, so two `Stack` objects of the same state folder see and steer the same processes.
    """

    def __init__(self, configuration: StackConfiguration | None = None, progress: Progress = silent) -> None:
        self.configuration = configuration or StackConfiguration()
        self._progress = progress
        state = self.configuration.state
        credentials = Credentials.load_or_create(state / "credentials.json")
        self.addresses = _addresses(self.configuration, credentials)
        environment = Environment(self.configuration, credentials, self.addresses, _base_environment())
        self.components: dict[str, Component] = {kind.name: kind(environment) for kind in COMPONENTS}
        self.processes = {name: ComponentProcess(name, state) for name in self.components}
        self._cancelled = threading.Event()

    # --- the whole stack

    def fetch(self) -> None:
        """Bring what the components need onto this machine. Raises `StackError`."""
        for component in self.components.values():
            if component.outside is None:
                component.fetch()

    def start(self, *names: str) -> None:
        """Start these components and what they depend on, or all; returns when every one is ready.

        Raises `StackError` naming the first that failed; what has come up by then stays up.
        """
        wanted = self._with_dependencies(names or self.components)
        self.fetch()
        self._write_addresses()
        self._start_in_parallel([name for name in self.components if name in wanted])

    def stop(self) -> None:
        """Stop all, each before what it depends on."""
        for name in reversed(self.components):
            self._stop_one(name)
        (self.configuration.state / "env").unlink(missing_ok=True)

    def cancel(self) -> None:
        """Make a `start` that is under way in another thread give up, from a signal handler for example."""
        self._cancelled.set()

    # --- one component

    def stop_one(self, name: str) -> None:
        """SIGTERM, and SIGKILL after its grace."""
        self._stop_one(self._known(name))

    def kill(self, name: str) -> None:
        """SIGKILL, children included."""
        self.processes[self._known(name)].kill()

    def restart(self, name: str) -> None:
        """Stop it and start it again."""
        self.stop_one(name)
        self.start(name)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self.processes[self._known(name)].pause()

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self.processes[self._known(name)].resume()

    def is_running(self, name: str) -> bool:
        return self.components[name].outside is not None or self.processes[name].running() is not None

    # --- how

    def _known(self, name: str) -> str:
        if name not in self.components:
            raise StackError(f"There is no component {name!r}; there are {', '.join(self.components)}.")
        if self.components[name].outside is not None:
            raise StackError(f"{name} is run by somebody else, at an address of yours.")
        return name

    def _with_dependencies(self, names: Iterable[str]) -> set[str]:
        wanted: set[str] = set()
        for name in names:
            if name not in self.components:
                raise StackError(f"There is no component {name!r}; there are {', '.join(self.components)}.")
            wanted |= {name} | self._with_dependencies(self.components[name].depends_on)
        return wanted

    def _start_in_parallel(self, names: list[str]) -> None:
        """Each waits for its own dependencies only. `names` are in an order that respects them."""
        started: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            for name in names:
                before = [started[each] for each in self.components[name].depends_on if each in started]
                started[name] = pool.submit(self._start_after, before, name)
        for future in started.values():
            future.result()

    def _start_after(self, before: list[Future[None]], name: str) -> None:
        for future in before:
            future.result()
        component, process = self.components[name], self.processes[name]
        began = time.monotonic()
        if component.outside is not None:
            component.after_ready()
            self._progress(f"{name:<10} outside, at {component.outside.rpartition('@')[2]}")
            return
        if process.running() is None:
            process.end_orphans()
            for port in component.ports:
                number = self.configuration.port(port)
                if not port_is_free(number):
                    raise StackError(
                        f"Port {number}, which {name} needs, is taken by another program: end that, or set "
                        "TANDEM_PORT_OFFSET to move all ports of the stack."
                    )
            component.prepare()
            process.start(component.command())
        self._await_readiness(component, process, began)
        component.after_ready()
        self._progress(f"{name:<10} ready after {time.monotonic() - began:4.1f} s   {component.address}")

    def _await_readiness(self, component: Component, process: ComponentProcess, began: float) -> None:
        reason = ""
        while True:
            try:
                if component.is_ready():
                    return
            except Exception as error:  # noqa: BLE001 - whatever a probe raises means "not yet"
                reason = f" ({type(error).__name__}: {error})"
            if process.running() is None:
                tail = process.log_tail()
                reason = process.exit_reason()
                process.pid_file.unlink(missing_ok=True)
                raise StackError(f"{component.name} {reason} while starting. The end of {process.log_file}:\n{tail}")
            if self._cancelled.is_set():
                raise StackError(f"The start was cancelled while waiting for {component.name}.")
            if time.monotonic() - began > component.deadline:
                raise StackError(
                    f"{component.name} is not ready after {component.deadline:g} s{reason}. "
                    f"The end of {process.log_file}:\n{process.log_tail()}"
                )
            time.sleep(_READINESS_POLL_SECONDS)

    def _stop_one(self, name: str) -> None:
        if self.components[name].outside is None and self.processes[name].expected:
            self.processes[name].stop(self.components[name].grace)
            self._progress(f"{name:<10} stopped")

    def _write_addresses(self) -> None:
        lines = [f"{key}={value}\n" for key, value in self.addresses.items()]
        write_private(self.configuration.state / "env", "".join(lines))


def _base_environment() -> dict[str, str]:
    """What every process gets: nothing of ours leaks into it by accident, and Python doesn't buffer its log."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"}
    inherited = {key: value for key, value in os.environ.items() if key in kept}
    return {**inherited, "PYTHONUNBUFFERED": "1", "ENVIRONMENT": os.environ.get("ENVIRONMENT", "local")}


def _addresses(configuration: StackConfiguration, credentials: Credentials) -> dict[str, str]:
    def url(name: str, scheme: str = "http") -> str:
        return f"{scheme}://{LOOPBACK}:{configuration.port(name)}"

    root = make_url(configuration.mysql_root_url or f"mysql://root@{LOOPBACK}:{configuration.port('mysql')}/")
    if configuration.mysql_root_url is None:
        root = root.set(password=credentials.mysql_root)

    def account(name: str, password: str, schema: str) -> str:
        account_url = root.set(username=name, password=password, database=schema, query={})
        return account_url.render_as_string(hide_password=False)

    return {
        "GATEWAY_URL": url("gateway"),
        "AUTH_URL": url("auth"),
        "TWEET_URL": url("tweet"),
        "SYNC_URL": url("sync"),
        "REGISTRAR_URL": url("registrar"),
        "CONNECT_URL": configuration.outside_connect or url("connect"),
        "KAFKA_BOOTSTRAP_SERVERS": configuration.outside_kafka or f"{LOOPBACK}:{configuration.port('kafka')}",
        "MYSQL_ROOT_URL": root.render_as_string(hide_password=False),
        "MYSQL_URL": account("auth_service", credentials.mysql_auth_service, "auth"),
        "SYNC_MYSQL_URL": account("sync_service", credentials.mysql_sync_service, "tweets"),
        "MONGODB_URL": configuration.outside_mongodb
        or f"mongodb://{LOOPBACK}:{configuration.port('mongo')}/tweets?replicaSet=rs0",
        # Not an address, but what it takes to run auth-service's commands on this stack.
        "AUTH_KEY_ENCRYPTION_SECRET": credentials.key_encryption,
        "MAIL_URL": url("mail-http"),
        "SMTP_URL": url("mail-smtp", "smtp"),
    }
