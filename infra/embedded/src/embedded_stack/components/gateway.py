"""nginx in front of the services, with the template of the container."""

import shutil
import string
from pathlib import Path

from embedded_stack.components.base import LOOPBACK, Component, responds_ok
from embedded_stack.configuration import REPOSITORY
from embedded_stack.fetch.debian import debian_prefix
from embedded_stack.process import Command

TEMPLATES = REPOSITORY / "infra" / "gateway"


def nginx(cache: Path) -> list[str]:
    """The command of nginx: the one on PATH, or Debian's from the cache."""
    program = shutil.which("nginx")
    return [program] if program else debian_prefix(cache).command("usr/sbin/nginx")


def _quoted(path: Path) -> str:
    """Escape a path for the quotes in the templates."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


class Gateway(Component):
    name = "gateway"
    depends_on = ("auth", "tweet", "sync")
    ports = ("gateway",)
    grace = 5

    def fetch(self) -> None:
        if shutil.which("nginx") is None:
            debian_prefix(self.environment.cache)

    def prepare(self) -> None:
        for name in ("conf.d", "logs", "temp"):
            (self._folder / name).mkdir(exist_ok=True)
        values = {
            "GATEWAY_LISTEN": LOOPBACK,
            "GATEWAY_PORT": str(self.environment.port("gateway")),
            "GATEWAY_STATE": _quoted(self._folder),
            # The upstreams are addresses, so this resolver is never used.
            "GATEWAY_RESOLVER": LOOPBACK,
            "GATEWAY_UPSTREAM_OPTIONS": "",
            # No proxy has this address.
            "GATEWAY_TRUSTED_PROXY": "0.0.0.0/32",
            "AUTH_UPSTREAM": f"{LOOPBACK}:{self.environment.port('auth')}",
            "TWEET_UPSTREAM": f"{LOOPBACK}:{self.environment.port('tweet')}",
            "SYNC_UPSTREAM": f"{LOOPBACK}:{self.environment.port('sync')}",
            "WEB_ROOT": _quoted(REPOSITORY / "web"),
        }
        for template in TEMPLATES.rglob("*.template"):
            # Like envsubst with a list of names, so that nginx's own $variables stay.
            rendered = string.Template(template.read_text()).safe_substitute(values)
            folder = self._folder / "conf.d" if template.parent.name == "templates" else self._folder
            (folder / template.name.removesuffix(".template")).write_text(rendered)

    def command(self) -> Command:
        options = ["-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), "-e", "stderr"]
        return Command([*nginx(self.environment.cache), *options, "-g", "daemon off;"], self.environment.base)

    def is_ready(self) -> bool:
        return responds_ok(f"{self.environment.addresses['GATEWAY_URL']}/healthz")

    @property
    def _folder(self) -> Path:
        return self.environment.data("gateway")
