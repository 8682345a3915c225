"""nginx in front of the services, with the templates of the container."""

import os
import re
import shutil
import string
import subprocess
from collections.abc import Mapping
from pathlib import Path

from embedded_stack.components.base import LOOPBACK, Component, responds_ok
from embedded_stack.configuration import REPOSITORY
from embedded_stack.fetch.debian import NGINX, debian_prefix
from embedded_stack.process import Command

TEMPLATES = REPOSITORY / "infra" / "gateway" / "templates"
# The first version with the stream module's `pass`.
_OLDEST = (1, 25, 5)

# As in infra/Dockerfile, except for the log: each service logs its requests itself.
DEFAULTS = {
    "GATEWAY_WORKERS": "2",
    "GATEWAY_CONNECTIONS_PER_CLIENT": "2000",
    "GATEWAY_REQUESTS_PER_CLIENT": "500",
    "GATEWAY_ACCESS_LOG": "off",
    # The upstreams are addresses, so this resolver is never used.
    "GATEWAY_RESOLVER": LOOPBACK,
    "GATEWAY_PUBLIC_URL": "http://localhost:8080",
    "GATEWAY_UPSTREAM_OPTIONS": "",
    "GATEWAY_SYNC_ONLY": "",
    # No proxy has this address.
    "GATEWAY_TRUSTED_PROXY": "0.0.0.0/32",
}


def nginx_on_path() -> str | None:
    """An `nginx` that is new enough and has the stream module built in."""
    program = shutil.which("nginx")
    if program is None:
        return None
    build = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", build)
    is_recent = version is not None and tuple(map(int, version.groups())) >= _OLDEST
    return program if is_recent and re.search(r"--with-stream(\s|$)", build) else None


def nginx_command(cache: Path, folder: Path) -> list[str]:
    """The command that runs the nginx of `folder` (see `write_configuration`) in the foreground."""
    program, directives = nginx_on_path(), ["daemon off"]
    if program is None:
        prefix = debian_prefix(cache, NGINX)
        argv = prefix.command("usr/sbin/nginx")
        directives.append(f'load_module "{_quoted(prefix.root / "usr/lib/nginx/modules/ngx_stream_module.so")}"')
    else:
        argv = [program]
    if os.geteuid() == 0:
        # Otherwise the workers would have an account that may neither enter the state folder nor the repository.
        directives.append("user root")
    options = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return [*argv, *options, "-g", "".join(f"{each}; " for each in directives)]


def write_configuration(folder: Path, values: Mapping[str, str]) -> None:
    """Render the templates for an nginx that keeps its state in `folder`. `values` complete or replace `DEFAULTS`."""
    (folder / "conf.d").mkdir(exist_ok=True)
    known = {**DEFAULTS, "GATEWAY_STATE": _quoted(folder), **values}
    for template in TEMPLATES.glob("*.template"):
        # Like envsubst with a list of names, so that nginx's own $variables stay.
        rendered = string.Template(template.read_text()).safe_substitute(known)
        (folder / "conf.d" / template.name.removesuffix(".template")).write_text(rendered)
    # As in the image. nginx reads further files from the folder of this link.
    main = folder / "nginx.conf"
    main.unlink(missing_ok=True)
    main.symlink_to("conf.d/nginx.conf")


def _quoted(path: Path) -> str:
    """Escape a path for quotes in nginx's configuration."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


class Gateway(Component):
    name = "gateway"
    depends_on = ("auth", "tweet", "sync")
    ports = ("gateway", "gateway-internal")
    grace = 5

    def fetch(self) -> None:
        if nginx_on_path() is None:
            debian_prefix(self.environment.cache, NGINX)

    def prepare(self) -> None:
        # The others are not used in a stack with the sync only.
        upstreams = ("sync",) * 3 if self.environment.configuration.is_sync_only else ("auth", "tweet", "sync")
        auth, tweet, sync = (f"{LOOPBACK}:{self.environment.port(name)}" for name in upstreams)
        values = {
            "GATEWAY_LISTEN": LOOPBACK,
            "GATEWAY_PORT": str(self.environment.port("gateway")),
            "GATEWAY_INTERNAL_PORT": str(self.environment.port("gateway-internal")),
            "GATEWAY_PUBLIC_URL": self.environment.addresses["GATEWAY_URL"],
            "AUTH_UPSTREAM": auth,
            "TWEET_UPSTREAM": tweet,
            "SYNC_UPSTREAM": sync,
            "GATEWAY_SYNC_ONLY": "yes" if self.environment.configuration.is_sync_only else "",
            "WEB_ROOT": _quoted(REPOSITORY / "web"),
        }
        write_configuration(self._folder, values)

    def command(self) -> Command:
        return Command(nginx_command(self.environment.cache, self._folder), self.environment.base)

    def is_ready(self) -> bool:
        return responds_ok(f"{self.environment.addresses['GATEWAY_URL']}/healthz")

    @property
    def _folder(self) -> Path:
        return self.environment.data("gateway")
