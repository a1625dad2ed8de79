"""States of a check, and a finding. Pure.

| state | meaning |
| --- | --- |
| `ok` | as it should be |
| `unknown` | nobody can tell now: no proof of anything |
| `warn` | it works, and will not if nobody looks at it |
| `fail` | it does not work |
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class State(enum.StrEnum):
    """`health_checks.state`."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"


class Check(enum.StrEnum):
    """`health_checks.kind`: the five that were required, and ours."""

    REACHABLE = "reachable"
    MAIL_SERVER = "mail_server"
    SSL = "ssl"
    DISK = "disk"
    QUEUE = "queue"
    PORT_25 = "port_25"
    PTR = "ptr"
    BLOCKLIST = "blocklist"
    DNS = "dns"
    DKIM = "dkim"
    CLOCK = "clock"
    VERSION = "version"
    IDENTITY = "identity"
    MAIL_BACKUP = "mail_backup"
    AGENT_MEMORY = "agent_memory"


class InstallationCheck(enum.StrEnum):
    """What is checked of the installation itself, and kept as alerts alone."""

    DATABASE_BACKUP = "database_backup"
    RESTORE_TEST = "restore_test"
    DATABASE_LOG = "database_log"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `sentence` is for people, `value` for whoever counts."""

    check: Check | InstallationCheck
    state: State
    sentence: str
    value: float | None = None


_GRAVITY = tuple(State)


def worst(states: Iterable[State]) -> State:
    """Return the gravest state; `ok` of none."""
    return max(states, key=_GRAVITY.index, default=State.OK)
