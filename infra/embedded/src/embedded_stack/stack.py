"""A stack: starts its components in the order of their dependencies; stops, kills and pauses single ones."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote as quoted
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from embedded_stack.components import Component, Environment, components_of
from embedded_stack.components.base import LOOPBACK, NotReadyError, numbered
from embedded_stack.configuration import (
    StackConfiguration,
    command,
    port_offset_file,
    port_offset_used,
)
from embedded_stack.credentials import Credentials, write_private
from embedded_stack.disk_space import disk_is_full
from embedded_stack.errors import StackError, StartCancelledError
from embedded_stack.ports import require_free_ports
from embedded_stack.process import ComponentProcess
from embedded_stack.topology import SINGLE, Topology
from service_kit.seeded_file import seed_file

_READINESS_POLL_SECONDS = 0.1
# Paths may have a space, and addresses of your own any of these.
_NEEDS_QUOTES = re.compile(r"""[\s&;|<>()$`\\"'#*~!]""")

Progress = Callable[[str], None]


def silent(_line: str) -> None:
    """A `Progress` that shows nothing."""


class Stack:
    """All components with one state folder.

    Components are named `mysql mongo kafka mail connect registrar sync auth tweet gateway`; a `topology` can have
    further members of them. The pid files say which ones run, so two `Stack` objects of one state folder control the
    same processes.
    """

    def __init__(
        self,
        configuration: StackConfiguration | None = None,
        progress: Progress = silent,
        topology: Topology = SINGLE,
    ) -> None:
        self.configuration = configuration or StackConfiguration()
        self._progress = progress
        state = self.configuration.state
        credentials = Credentials.load_or_create(state / "credentials.json")
        self.addresses = _addresses(self.configuration, credentials, topology)
        environment = Environment(self.configuration, credentials, self.addresses, _base_environment(), topology)
        self.components: dict[str, Component] = {each.name: each for each in components_of(environment)}
        self.processes = {name: ComponentProcess(name, state) for name in self.components}
        self._cancelled = threading.Event()
        self.is_fetching = False

    # --- the whole stack

    def fetch(self) -> None:
        """Download what the components need. Raises `StackError`."""
        self.is_fetching = True
        try:
            for component in self.components.values():
                if component.outside is None:
                    component.fetch()
        except KeyboardInterrupt:
            raise StackError(
                f"The download was interrupted. Complete files stay in {self.configuration.cache}; the same command "
                "downloads the rest."
            ) from None
        finally:
            self.is_fetching = False

    def start(self, *names: str) -> None:
        """Start these components with their dependencies, or all; return when they are ready.

        Raises `StackError`: before the start it names every port that is in use, later the first component that failed.
        Components that were started stay up.
        """
        ordered = self._ordered(names)
        self.require_same_ports()
        self._make_private()
        self.seed_routes()
        for name in ordered:
            if self.components[name].outside is None:
                self.components[name].check()
        write_private(port_offset_file(self.configuration.state), f"{self.configuration.port_offset}\n")
        self._require_free_ports(ordered)
        self.fetch()
        self._write_addresses()
        self._start_in_parallel(ordered)

    def seed_routes(self) -> None:
        """Let the file of the routes be the packaged one, unless it is edited or of the user's own.

        Not while services that read it are running: they may be of an earlier release, which does not know all of it.
        """
        is_read = any(self.processes[name].running() for name in ("registrar", "sync"))
        if self.configuration.routes == self.configuration.live_routes and not is_read:
            seed_file(self.configuration.live_routes, self.configuration.packaged_routes)

    def stop(self) -> None:
        """Stop all components, each before its dependencies."""
        for name in reversed(self.components):
            self._stop_one(name)
        for file in (self.configuration.state / "env", port_offset_file(self.configuration.state)):
            file.unlink(missing_ok=True)

    def missing(self, *names: str) -> list[str]:
        """The components that don't run, of these with their dependencies, or of all. Raises `StackError`."""
        return [name for name in self._ordered(names) if not self.is_running(name)]

    def require_same_ports(self) -> None:
        """Raise `StackError` if components run with another port offset: their addresses are not the ones used here."""
        state = self.configuration.state
        used = port_offset_used(state)
        if used not in (None, self.configuration.port_offset) and any(p.running() for p in self.processes.values()):
            raise StackError(
                f"The stack in {state} runs with TANDEM_PORT_OFFSET={used}, and "
                f"{self.configuration.port_offset} is set now: set the same, or stop the stack first: "
                f"`{command(state, used, 'make down')}`."
            )

    def cancel(self) -> None:
        """Cancel a `start` that runs in another thread, for example from a signal handler."""
        self._cancelled.set()

    # --- one component

    def stop_one(self, name: str) -> None:
        """Send SIGTERM, and SIGKILL after the grace period. A supervisor does not restart it."""
        if not self._stop_one(self._known(name)):
            self._progress(f"{name:<10} does not run")

    def revive(self, name: str) -> None:
        """Start a component that has died, without its dependencies, as a supervisor does.

        Does nothing if it was stopped on purpose, or started in the meantime. If it dies during the start, the
        supervisor decides. Raises `StackError` if it can't be started or does not become ready.
        """
        component, process = self.components[self._known(name)], self.processes[name]
        began, start = time.monotonic(), _Start(self._cancelled)
        with process.exclusive():
            if not process.expected or process.running() is not None:
                return
            self._launch(component, process, start)
        if self._became_ready(component, process, began, start):
            self._set_up(component, process)
            self._report_ready(component, began)

    def kill(self, name: str) -> None:
        """Kill it with its children. A supervisor does not restart it."""
        self.processes[self._known(name)].kill()

    def restart(self, name: str) -> None:
        """Stop it and start it, with its dependencies."""
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

    def _make_private(self) -> None:
        """Close data, logs and pids to other users, also those of a stack of an earlier release.

        The state folder itself may be one that its user shares.
        """
        for name in ("data", "log", "run"):
            folder = self.configuration.state / name
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    def _known(self, name: str) -> str:
        if name not in self.components:
            raise StackError(f"There is no component {name!r}; there are {', '.join(self.components)}.")
        if self.components[name].outside is not None:
            raise StackError(f"{name} is not part of the stack: it is an external component.")
        return name

    def _with_dependencies(self, names: Iterable[str]) -> set[str]:
        wanted: set[str] = set()
        for name in names:
            if name not in self.components:
                raise StackError(f"There is no component {name!r}; there are {', '.join(self.components)}.")
            wanted |= {name} | self._with_dependencies(self.components[name].depends_on)
        return wanted

    def _ordered(self, names: Iterable[str]) -> list[str]:
        """These components with their dependencies, or all, each after its dependencies. Raises `StackError`."""
        wanted = self._with_dependencies(names or self.components)
        return [name for name in self.components if name in wanted]

    def _start_in_parallel(self, names: list[str]) -> None:
        """Start each component as soon as its dependencies are ready. `names` are ordered by dependency.

        A failure ends the wait for the other components. Those that were started stay up.
        """
        started: dict[str, Future[None]] = {}
        start = _Start(self._cancelled)
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            for name in names:
                before = [started[each] for each in self.components[name].depends_on if each in started]
                started[name] = pool.submit(self._start_after, before, name, start)
            wait(started.values(), return_when=FIRST_EXCEPTION)
            start.has_failed.set()
        failures = [error for future in started.values() if (error := future.exception()) is not None]
        for error in sorted(failures, key=lambda each: isinstance(each, StartCancelledError)):
            raise error

    def _require_free_ports(self, names: Iterable[str]) -> None:
        ports = {}
        for name in names:
            process = self.processes[name]
            if self.components[name].outside is not None:
                continue
            with process.exclusive():
                if process.running() is None:
                    process.end_orphans()
                    ports[name] = self.components[name].ports
        require_free_ports(self.configuration, ports)

    def _start_after(self, before: list[Future[None]], name: str, start: "_Start") -> None:
        for future in before:
            future.result()
        component, process = self.components[name], self.processes[name]
        began = time.monotonic()
        if component.outside is not None:
            component.after_ready()
            self._progress(f"{name:<10} outside, at {component.outside}")
            return
        with process.exclusive():
            runs_already = process.running() is not None
            if not runs_already:
                self._launch(component, process, start)
        while not self._became_ready(component, process, began, start):
            # A supervisor may be starting it again.
            with process.exclusive():
                if process.running() is None:
                    reason, tail = process.exit_reason(), process.log_tail()
                    process.pid_file.unlink(missing_ok=True)
                    full = self.full_folder(name)
                    hint = f"The disk of {full} is full: free some space. " if full else ""
                    raise StackError(f"{name} {reason} while starting. {hint}The end of {process.log_file}:\n{tail}")
        self._set_up(component, process)
        if runs_already:
            self._progress(f"{name:<10} runs already         {component.address}")
        else:
            self._report_ready(component, began)

    def full_folder(self, name: str) -> Path | None:
        """The folder of the component whose disk is full: its own data folder, or that of the whole stack.

        They can be on different disks. No folder is created, because a full disk may not allow it.
        """
        state = self.configuration.state
        folders = (state / "data" / name, state)
        return next((folder for folder in folders if folder.exists() and disk_is_full(folder)), None)

    def _launch(self, component: Component, process: ComponentProcess, start: "_Start") -> None:
        """Start the process. The caller holds the lock of the component."""
        process.end_orphans()
        require_free_ports(self.configuration, {component.name: component.ports})
        component.prepare()
        start.require_wanted(component.name)
        process.start(component.command())

    def _became_ready(self, component: Component, process: ComponentProcess, began: float, start: "_Start") -> bool:
        """Wait until it is ready. False if it has ended. Raises `StackError` if neither happens in time."""
        reason = ""
        while True:
            try:
                if component.is_ready():
                    return True
            except Exception as error:  # noqa: BLE001 - every error of a probe means "not ready yet"
                reason = f" ({error})" if isinstance(error, NotReadyError) else f" ({type(error).__name__}: {error})"
            if process.running() is None:
                return False
            start.require_wanted(component.name)
            if time.monotonic() - began > component.deadline:
                dead = self._dead_dependency(component)
                needs = f": it needs {dead.name}, which {dead.exit_reason()}" if dead else reason
                cause = dead or process
                raise StackError(
                    f"{component.name} is not ready after {component.deadline:g} s{needs}. "
                    f"The end of {cause.log_file}:\n{cause.log_tail()}"
                )
            time.sleep(_READINESS_POLL_SECONDS)

    def _set_up(self, component: Component, process: ComponentProcess) -> None:
        """Run `after_ready`, unless it has completed for this process with the same inputs."""
        contents = component.after_ready_inputs()
        if not process.is_set_up(contents):
            running = process.running()
            component.after_ready()
            if running is not None:
                process.record_set_up(running, contents)

    def _dead_dependency(self, component: Component) -> ComponentProcess | None:
        """A dependency that does not run. Its log has the reason why the component is not ready."""
        for name in sorted(self._with_dependencies(component.depends_on)):
            process = self.processes[name]
            if self.components[name].outside is None and process.running() is None:
                return process
        return None

    def _report_ready(self, component: Component, began: float) -> None:
        ready = f"{component.name:<10} ready after {time.monotonic() - began:4.1f} s   {component.address}"
        self._progress(ready + component.remark)

    def _stop_one(self, name: str) -> bool:
        """Stop it. False if it does not run."""
        process = self.processes[name]
        if self.components[name].outside is not None or not (process.expected or process.writers()):
            return False
        process.stop(self.components[name].grace)
        self._progress(f"{name:<10} stopped")
        return True

    def _write_addresses(self) -> None:
        # A shell reads the file.
        lines = [
            f"{key}={quoted(value) if _NEEDS_QUOTES.search(value) else value}\n"
            for key, value in self.addresses.items()
        ]
        write_private(self.configuration.state / "env", "".join(lines))


@dataclass(frozen=True)
class _Start:
    """One call of `start`. It ends early if it is cancelled or one of its components fails."""

    cancelled: threading.Event
    has_failed: threading.Event = field(default_factory=threading.Event)

    def require_wanted(self, name: str) -> None:
        if self.cancelled.is_set() or self.has_failed.is_set():
            raise StartCancelledError(f"The start was cancelled while waiting for {name}.")


def _base_environment() -> dict[str, str]:
    """The environment of every process: a few inherited variables, and Python without a buffer for its log."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"}
    inherited = {key: value for key, value in os.environ.items() if key in kept}
    return {**inherited, "PYTHONUNBUFFERED": "1", "ENVIRONMENT": os.environ.get("ENVIRONMENT", "local")}


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _addresses(configuration: StackConfiguration, credentials: Credentials, topology: Topology) -> dict[str, str]:
    def url(name: str, scheme: str = "http") -> str:
        return f"{scheme}://{LOOPBACK}:{configuration.port(name)}"

    def servers(name: str, members: int) -> str:
        return ",".join(f"{LOOPBACK}:{configuration.port(numbered(name, each))}" for each in range(1, members + 1))

    running = {
        "GATEWAY_URL": url("gateway"),
        "SYNC_URL": url("sync"),
        "REGISTRAR_URL": url("registrar"),
        "CONNECT_URL": configuration.outside_connect or url("connect"),
        "KAFKA_BOOTSTRAP_SERVERS": configuration.outside_kafka or servers("kafka", topology.kafka),
        # For the commands of sync-service, too.
        "SYNC_ROUTES_FILE": str(configuration.routes),
    }
    if configuration.is_sync_only:
        mysql = _text(configuration.outside_mysql_account) or ""
        return {
            **running,
            "MYSQL_URL": mysql,
            "SYNC_MYSQL_URL": mysql,
            "MONGODB_URL": _text(configuration.outside_mongodb) or "",
            **configuration.connector_variables,
            "SYNC_OPERATOR_TOKEN": _text(configuration.operator_token) or credentials.sync_operator,
        }

    root = _text(configuration.mysql_root_url) or (
        f"mysql://root:{quote(credentials.mysql_root, safe='')}@{LOOPBACK}:{configuration.port('mysql')}/"
    )
    scheme, server = urlsplit(root).scheme, urlsplit(root).netloc.rpartition("@")[2]

    def account(name: str, password: str, schema: str) -> str:
        return f"{scheme}://{name}:{quote(password, safe='')}@{server}/{schema}"

    return {
        **running,
        "AUTH_URL": url("auth"),
        "TWEET_URL": url("tweet"),
        "MYSQL_ROOT_URL": root,
        "MYSQL_URL": account("auth_service", credentials.mysql_auth_service, "auth"),
        "SYNC_MYSQL_URL": account("sync_service", credentials.mysql_sync_service, "tweets"),
        "MONGODB_URL": _text(configuration.outside_mongodb)
        or f"mongodb://{servers('mongo', topology.mongo)}/tweets?replicaSet=rs0",
        # Not an address, but what it takes to run auth-service's commands on this stack.
        "AUTH_KEY_ENCRYPTION_SECRET": credentials.key_encryption,
        "MAIL_URL": url("mail-http"),
        "SMTP_URL": url("mail-smtp", "smtp"),
    }
