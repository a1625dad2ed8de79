"""One daemon that we start and that never outlives us.

As root we run it as the user of its Debian package (confine.py lets that user reach the files); otherwise as
ourselves. It asks the kernel for a signal when its parent dies (prctl(2), PR_SET_PDEATHSIG). That signal comes when
the *thread* that started it ends: start a daemon from the main thread. Nothing is read from a pipe; all output goes to
the log file.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from control_plane.embedded import confine

#: sun_path holds 108 bytes with the final NUL (unix(7)).
_LONGEST_SOCKET_PATH = 107
_POLL_SECONDS = 0.01
_LOG_TAIL_LINES = 5


class EmbeddedFailed(Exception):
    """A private daemon is missing on this machine, does not start or does not stop; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Quarters:
    """Who a daemon runs as and how it sees its directories (name -> where it really lies)."""

    directories: Mapping[str, Path]
    #: None: as ourselves, and the directories are where they are.
    user: str | None
    home: str

    def path(self, name: str) -> str:
        """Return the path at which the daemon sees the directory."""
        return f"{self.home}/{name}" if self.user else os.fspath(self.directories[name])

    def command(self, last_words: str, command: Sequence[str]) -> list[str]:
        """Return `command` run in these quarters and sent the signal named `last_words` when its parent dies."""
        leashed = ["setpriv", "--pdeathsig", last_words, "--no-new-privs"]
        if self.user is None:
            return [*leashed, "--", *command]
        return [
            *("unshare", "--mount", "--propagation", "private"),
            *(sys.executable, "-I", "-S", confine.__file__, self.home),
            *(f"{name}={directory}" for name, directory in self.directories.items()),
            *("--", *leashed, "--reuid", self.user, "--regid", self.user, "--init-groups", "--inh-caps=-all"),
            *("--", *command),
        ]


def quarters(user: str, home: str, **directories: Path) -> Quarters:
    """Return the quarters for a daemon whose Debian package made `user` and `home`; make the directories (mode 0700).

    Raises `EmbeddedFailed` when we are root and that user does not exist.
    """
    as_root = os.geteuid() == 0
    if as_root and not _user_exists(user):
        raise EmbeddedFailed(f"there is no user {user}: the daemon's Debian package is not installed")
    for directory in directories.values():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        if as_root:
            shutil.chown(directory, user, user)
    return Quarters(directories=directories, user=user if as_root else None, home=home)


class Daemon:
    """A started process, its log, and how to wait for it and end it."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self._name = name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def running(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return when `ready()` holds; end the daemon and raise `EmbeddedFailed` when it dies or time runs out."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running():
                raise EmbeddedFailed(f"{self._name} stopped while starting; {log_tail(self._log)}")
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL, seconds=5)
                raise EmbeddedFailed(f"{self._name} was not ready after {seconds:.0f} s; {log_tail(self._log)}")
            time.sleep(_POLL_SECONDS)

    def stop(self, how: signal.Signals, seconds: float) -> None:
        """Send `how` and wait; kill what has not ended after `seconds`."""
        self._process.send_signal(how)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def check_socket_path(path: Path) -> None:
    """Raise `EmbeddedFailed` when `path` is too long for a Unix socket."""
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise EmbeddedFailed(f"{path} is too long for a Unix socket (at most {_LONGEST_SOCKET_PATH} bytes)")


def answers(path: Path) -> bool:
    """Whether somebody accepts connections on the Unix socket at `path`."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.fspath(path))
        except OSError:
            return False
    return True


def log_tail(log: Path) -> str:
    """Return the last lines of a log, for an error message."""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return f"{log} ends with: " + (" | ".join(lines) or "nothing")


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
