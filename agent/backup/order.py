"""What is backed up and to where, as the root half has written it with the configuration; and what a command asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """Its values were checked by `mailstack/spec.py` before they were written."""

    repository: str = field(repr=False)
    password: str = field(repr=False)
    #: Of the repository's place, as environment variables that restic reads.
    credentials: Mapping[str, str] = field(repr=False)
    #: This server's id.
    server: str
    mailboxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Back all mailboxes up; or, with an address, bring one back."""

    #: The command's id.
    id: str
    address: str = ""
    #: Empty for the newest.
    snapshot: str = ""
    #: Whose backups it is brought back from.
    server: str = ""
    #: Into the mailbox's own folders what they do not have; or all of it into a folder beside them.
    in_place: bool = False


def read_order(path: Path) -> Order | None:
    """Return the order, or None where mailboxes are not backed up."""
    try:
        order = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return Order(**{**order, "mailboxes": tuple(order["mailboxes"])})


def take_asked(folder: Path) -> Asked | None:
    """Return what was asked for first and forget it, so that it is begun once; None when nothing is left."""
    waiting = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    if not waiting:
        return None
    content = waiting[0].read_bytes()
    waiting[0].unlink()
    return Asked(**json.loads(content))
