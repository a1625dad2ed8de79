"""Where things are on a mail server, and what came with the server's user-data.

The agent has no options to tune: paths are fixed by the installation, and everything else comes over the link. A test
builds `Settings` with its own folders.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

#: A join file is a few hundred bytes; anything longer is not one.
MAX_JOIN_FILE_BYTES = 16 * 1024


class SettingsError(Exception):
    """What came with the user-data cannot be read; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths on a mail server."""

    #: Written by cloud-init: `agent.json` (see `JoinFile`) and `ca.pem`, the pinned certificate authority.
    config_dir: Path = Path("/etc/penguin")
    #: Owned by the agent, mode 0700: identity, journal, last applied state.
    state_dir: Path = Path("/var/lib/penguin-agent")
    #: The root half listens here (penguin-configure.socket).
    configure_socket: Path = Path("/run/penguin/configure.sock")
    mail_log: Path = Path("/var/log/mail.log")
    #: Where this server tells a scraper of its own how it is.
    metrics_address: tuple[str, int] = ("127.0.0.1", 9787)
    #: How it stands with the authority's certificate, written by penguin-certificates.
    certificate_status: Path = Path("/var/lib/penguin-certificates/status.json")
    #: What penguin-backup is to do, what came of it, and its scratch space.
    backup_dir: Path = Path("/var/lib/penguin-backup")
    #: What penguin-upgrade is to do, and how it went (agent/upgrade/order.py).
    upgrade_dir: Path = Path("/var/lib/penguin-upgrade")
    #: The same for penguin-packages.
    packages_dir: Path = Path("/var/lib/penguin-packages")

    @property
    def backup_status(self) -> Path:
        """What came of the last backup and restore, for all to read."""
        return self.backup_dir / "status.json"

    @property
    def join_file(self) -> Path:
        """Where to enrol and, until it is used, the join token."""
        return self.config_dir / "agent.json"

    @property
    def pinned_ca_file(self) -> Path:
        """The certificate authority that came with the user-data, PEM."""
        return self.config_dir / "ca.pem"

    @property
    def identity_dir(self) -> Path:
        """Key, certificate and where the link is."""
        return self.state_dir / "identity"


@dataclass(frozen=True, slots=True)
class Join:
    """The contents of the join file: the enrolment door as host:port, and a token that works once."""

    enrol_endpoint: str
    join_token: str | None = field(repr=False)


def read_join(path: Path) -> Join:
    """Read the join file. Raises `SettingsError` when it is missing, unreadable or not what cloud-init writes."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MAX_JOIN_FILE_BYTES))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: not a JSON object")
    endpoint, token = content.get("enrol_endpoint"), content.get("join_token")
    if not isinstance(endpoint, str) or not endpoint:
        raise SettingsError(f"{path}: enrol_endpoint is missing")
    if token is not None and not isinstance(token, str):
        raise SettingsError(f"{path}: join_token is not a string")
    return Join(enrol_endpoint=endpoint, join_token=token or None)


def forget_join_token(path: Path) -> None:
    """Overwrite the used join token in place.

    The agent may write this one file of a folder that belongs to root, so it cannot be replaced by a rename. One write
    of unchanged length, padded with spaces, leaves the old or the new text whenever the power fails.
    """
    endpoint = read_join(path).enrol_endpoint
    length = path.stat().st_size
    text = json.dumps({"enrol_endpoint": endpoint}).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, text.ljust(length), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
