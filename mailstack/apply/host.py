"""The one door through which mailstack touches a server: files, accounts, commands and systemd units.

Everything above it decides; nothing above it opens a file or starts a process, so that all of it is tested with
`tests/fakes/host.py`. (The probe opens sockets, as any mail program would.)

SECURITY: runs as root. Commands are argument lists; the paths and names in them come from renderers, whose values have
passed `mailstack/syntax.py`. Files are written beside their place and renamed over it, so a reader sees the old or the
new content and never a half.
"""

import contextlib
import datetime as dt
import errno
import grp
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mailstack.checking import CommandOutput
from mailstack.rendered_file import Service

#: Seconds for any one command.
COMMAND_TIMEOUT = 60.0
#: Seconds. Postfix waits until a main.cf it finds new is no longer new, two seconds at most.
_BACKDATE = 60.0
#: The distribution's units.
_VENDOR_UNITS = Path("/lib/systemd/system")
#: systemctl enable would otherwise spend seconds on each unit's SysV twin.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMCTL_SKIP_SYSV": "1"}


class CommandFailed(Exception):
    """A command that must succeed did not; the message names it and its last words."""

    def __init__(self, argv: Sequence[str], output: CommandOutput) -> None:
        super().__init__(f"{' '.join(argv)}: {output.last_words}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it is on the server."""

    content: bytes = field(repr=False)
    owner: str
    group: str
    mode: int


class Host(Protocol):
    """A server. Every method may raise `OSError`; those that run commands, `CommandFailed`."""

    def now(self) -> dt.datetime:
        """Return the server's time, in UTC."""

    def run(self, argv: Sequence[str]) -> CommandOutput:
        """Run a command to its end and return how it ended, whatever its exit status."""

    def read(self, path: str) -> StoredFile | None:
        """Return the file, or None where there is none."""

    def exists(self, path: str) -> bool:
        """Say whether there is a file."""

    def write(self, path: str, file: StoredFile) -> None:
        """Put the file in its place, whole, with its owner and mode; make missing directories above it."""

    def remove(self, path: str) -> None:
        """Remove a file; no error when it is gone already."""

    def make_directory(self, path: str, owner: str, group: str, mode: int) -> None:
        """Make the directory and those above it; no error when it is there."""

    def remove_directory(self, path: str) -> None:
        """Remove a directory with all that is in it; no error when it is gone already."""

    def groups_of(self, user: str) -> frozenset[str] | None:
        """Return the names of the groups a user is in, or None for an unknown user."""

    def running(self, services: Sequence[Service]) -> frozenset[Service]:
        """Return those of the services that are running."""

    def enable(self, services: Sequence[Service]) -> None:
        """Let the services start with the system."""

    def disable(self, service: Service) -> None:
        """Let the service start with the system no more."""

    def restart(self, service: Service) -> None:
        """Stop the service if it runs, and start it."""

    def reload(self, service: Service) -> None:
        """Let the running service read its files again."""

    def stop(self, service: Service) -> None:
        """Stop the service."""


class LinuxHost:
    """The server this process runs on, with systemd."""

    def now(self) -> dt.datetime:
        """Return the system's time."""
        return dt.datetime.now(dt.UTC)

    def run(self, argv: Sequence[str]) -> CommandOutput:
        """Run a command; its output goes through files, for a daemon that it leaves behind would hold a pipe open."""
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=_ENVIRONMENT, cwd="/"
                )
            except FileNotFoundError:
                return CommandOutput(-1, "", "is not installed")
            exit_code = _wait(process)
            stdout.seek(0)
            stderr.seek(0)
            return CommandOutput(
                exit_code, stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
            )

    def read(self, path: str) -> StoredFile | None:
        """Read a file with its owner and mode."""
        try:
            with Path(path).open("rb") as file:
                status = os.fstat(file.fileno())
                return StoredFile(
                    file.read(), _user_name(status.st_uid), _group_name(status.st_gid), status.st_mode & 0o7777
                )
        except FileNotFoundError:
            return None

    def exists(self, path: str) -> bool:
        """Look for the file."""
        return Path(path).exists()

    def write(self, path: str, file: StoredFile) -> None:
        """Write beside the place, flush to disk, rename."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as temporary:
                temporary.write(file.content)
                temporary.flush()
                os.fchown(temporary.fileno(), _user_id(file.owner), _group_id(file.group))
                os.fchmod(temporary.fileno(), file.mode)
                modified = _modification_time(target, self.now().timestamp())
                os.utime(temporary.fileno(), (modified, modified))
                os.fsync(temporary.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _flush_directory(target.parent)

    def remove(self, path: str) -> None:
        """Remove a file."""
        Path(path).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            _flush_directory(Path(path).parent)

    def make_directory(self, path: str, owner: str, group: str, mode: int) -> None:
        """Make a directory, or give the one that is there its owner and mode."""
        Path(path).mkdir(parents=True, exist_ok=True)
        os.chown(path, _user_id(owner), _group_id(group))
        Path(path).chmod(mode)

    def remove_directory(self, path: str) -> None:
        """Remove a directory tree, all of it: what goes by itself meanwhile ends a pass and not the removal."""
        while Path(path).exists():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)

    def groups_of(self, user: str) -> frozenset[str] | None:
        """Look a user's groups up."""
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            return None
        return frozenset(_group_name(group_id) for group_id in os.getgrouplist(user, account.pw_gid))

    def running(self, services: Sequence[Service]) -> frozenset[Service]:
        """Ask systemd, once for all; Postfix proper is an instance of a template unit on Debian 12."""
        argv = ["systemctl", "show", "--property=ActiveState,SubState", *(_main_unit(service) for service in services)]
        states = self.run(argv).stdout.strip().split("\n\n")
        return frozenset(
            service
            for service, state in zip(services, states, strict=False)
            if "ActiveState=active" in state.splitlines()
        )

    def enable(self, services: Sequence[Service]) -> None:
        """Enable what is not enabled yet. systemd need not be told: the links it makes are for the next start."""
        units = [service.value for service in services]
        states = self.run(["systemctl", "is-enabled", *units]).stdout.split()
        if states != ["enabled"] * len(units):
            must_run(self, ["systemctl", "enable", "--quiet", "--no-reload", *units])

    def disable(self, service: Service) -> None:
        """Disable the unit."""
        must_run(self, ["systemctl", "disable", "--quiet", "--no-reload", service.value])

    def restart(self, service: Service) -> None:
        """Restart the unit and wait until it is up."""
        must_run(self, ["systemctl", "restart", service.value])

    def reload(self, service: Service) -> None:
        """Reload the unit."""
        must_run(self, ["systemctl", "reload", service.value])

    def stop(self, service: Service) -> None:
        """Stop the unit and wait until it is down."""
        must_run(self, ["systemctl", "stop", service.value])


def must_run(host: Host, argv: Sequence[str]) -> CommandOutput:
    """Run a command and return how it ended; raise `CommandFailed` when it says that it failed."""
    output = host.run(argv)
    if output.exit_code:
        raise CommandFailed(argv, output)
    return output


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the exit status; kill what takes too long.

    `wait(timeout)` would look every 50 ms, which adds up to as much as all commands of an apply together take.
    """
    too_long = threading.Timer(COMMAND_TIMEOUT, process.kill)
    too_long.start()
    try:
        return process.wait()
    finally:
        too_long.cancel()


def _main_unit(service: Service) -> str:
    """Return the unit whose state is the daemon's: Debian 12's postfix.service only stands for its instances."""
    unit = _VENDOR_UNITS / f"{service.value}.service"
    stands_for_others = service is Service.POSTFIX and unit.exists() and "Type=oneshot" in unit.read_text("utf-8")
    return "postfix@-.service" if stands_for_others else unit.name


def _modification_time(target: Path, now: float) -> float:
    """Return a time a little ago, and never in the same second as the file it replaces.

    Dovecot compares whole seconds and the size to see whether its users changed.
    """
    try:
        previous = target.stat().st_mtime
    except FileNotFoundError:
        return now - _BACKDATE
    return max(now - _BACKDATE, previous + 1)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _user_id(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise OSError(errno.ENOENT, "there is no such user", name) from None


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OSError(errno.ENOENT, "there is no such group", name) from None


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _group_name(group_id: int) -> str:
    try:
        return grp.getgrgid(group_id).gr_name
    except KeyError:
        return str(group_id)
