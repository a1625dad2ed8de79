"""A private Redis from the machine's own `redis-server`. It keeps nothing: Redis may forget at any moment.

We speak to it through a Unix socket in a directory of mode 0700, with a random password; agents through a TLS port,
when one is asked for, as ACL users that are made at run time. The `default` user has the password too, so the port
admits nobody who was given nothing. When memory is full it refuses writes instead of forgetting at random.
"""

import os
import secrets
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from control_plane.embedded.daemon import Daemon, EmbeddedFailed, Quarters, answers, check_socket_path, quarters

_USER = "redis"
_HOME = "/var/lib/redis"
_MAX_MEMORY = "256mb"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RedisTls:
    """The agents' port: files of the server's certificate chain and key (PEM), address and port to listen on."""

    certificate_file: Path
    key_file: Path
    address: str
    port: int


class EmbeddedRedis:
    """One private Redis. `directory` is its alone and is removed on stop; `enter` decides where it runs."""

    def __init__(
        self, directory: Path, enter: Sequence[str] = (), tls: RedisTls | None = None, log: Path | None = None
    ) -> None:
        self._directory = directory.absolute()
        self._enter = tuple(enter)
        self._tls = tls
        self._log = log or self._directory.with_name(f"{self._directory.name}.log")
        self._password = secrets.token_urlsafe(32)
        self._daemon: Daemon | None = None

    @property
    def url(self) -> str:
        """The unix:// URL with the control plane's password."""
        return f"unix://default:{self._password}@{quote(os.fspath(self._socket), safe='/')}"

    @property
    def _socket(self) -> Path:
        return self._directory / "redis.sock"

    def start(self) -> None:
        """Start it and return when it takes connections.

        Raises `EmbeddedFailed`. Call it from the main thread (see daemon.py).
        """
        check_socket_path(self._socket)
        program = shutil.which("redis-server")
        if program is None:
            raise EmbeddedFailed("Redis is not installed (Debian package redis-server)")
        if self._directory.exists():
            shutil.rmtree(self._directory)
        place = quarters(_USER, _HOME, run=self._directory)
        self._write_files(place)
        command = place.command("TERM", [program, f"{place.path('run')}/redis.conf"])
        self._daemon = Daemon("Redis", [*self._enter, *command], self._log)
        self._daemon.wait_until(lambda: answers(self._socket), _START_SECONDS)

    def stop(self) -> None:
        """Stop it and remove its directory; nothing happens when it does not run."""
        if self._daemon:
            self._daemon.stop(signal.SIGTERM, _STOP_SECONDS)
            self._daemon = None
            shutil.rmtree(self._directory)

    def running(self) -> bool:
        """Whether it was started and still runs."""
        return self._daemon is not None and self._daemon.running()

    def _write_files(self, place: Quarters) -> None:
        """Write the configuration, and copies of the certificate and key that Redis's own user can read."""
        files = {"redis.conf": configuration(place.path("run"), self._password, self._tls).encode()}
        if self._tls:
            files["tls.pem"] = self._tls.certificate_file.read_bytes()
            files["tls.key"] = self._tls.key_file.read_bytes()
        for name, content in files.items():
            path = self._directory / name
            path.touch(mode=0o600)
            path.write_bytes(content)
            if place.user:
                shutil.chown(path, place.user, place.user)


def configuration(directory: str, password: str, tls: RedisTls | None) -> str:
    """Return redis.conf for a Redis that sees its directory at `directory`."""
    lines = [
        "port 0",
        f'unixsocket "{directory}/redis.sock"',
        "unixsocketperm 700",
        f'dir "{directory}"',
        f"requirepass {password}",
        'save ""',
        "appendonly no",
        f"maxmemory {_MAX_MEMORY}",
        "maxmemory-policy noeviction",
    ]
    if tls:
        lines += [
            f"bind {tls.address}",
            f"tls-port {tls.port}",
            f'tls-cert-file "{directory}/tls.pem"',
            f'tls-key-file "{directory}/tls.key"',
            'tls-protocols "TLSv1.3"',
            # Agents prove who they are with their ACL user; their certificates are for the link alone.
            "tls-auth-clients no",
        ]
    return "\n".join(lines) + "\n"
