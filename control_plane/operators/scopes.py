"""What an operator's key may open, by name. Each route of the operators' door names one of these."""

import enum
from collections.abc import Iterable

from control_plane.errors import InvalidInput


class OperatorScope(enum.StrEnum):
    """One thing that an operator's key may be allowed to do."""

    READ_QUEUE = "queue:read"
    MANAGE_QUEUE = "queue:write"
    READ_FLEET = "fleet:read"
    MANAGE_FLEET = "fleet:write"
    READ_ALERTS = "alerts:read"
    MANAGE_ALERTS = "alerts:write"
    READ_ACTS = "acts:read"
    READ_TENANTS = "tenants:read"
    ERASE_TENANTS = "tenants:erase"
    #: Where tenants' mailboxes are copied to.
    MANAGE_BACKUPS = "backups:write"
    #: With ?reveal=true, beside the scope of what is read.
    REVEAL_ADDRESSES = "addresses:reveal"


#: What a key opens when nothing else was asked for: looking.
READING = frozenset(
    {
        OperatorScope.READ_QUEUE,
        OperatorScope.READ_FLEET,
        OperatorScope.READ_ALERTS,
        OperatorScope.READ_ACTS,
        OperatorScope.READ_TENANTS,
    }
)


def parse_scopes(names: Iterable[str]) -> frozenset[OperatorScope]:
    """Return the scopes of these names, those of reading when there are none; raise `InvalidInput` for another."""
    asked = list(names)
    unknown = sorted(set(asked) - set(OperatorScope))
    if unknown:
        raise InvalidInput(f"there is no scope {', '.join(unknown)}; there are {', '.join(OperatorScope)}")
    return frozenset(map(OperatorScope, asked)) or READING
