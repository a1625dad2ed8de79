"""What an operator's key may open, by name. Each route of the operators' door names those that open it."""

import enum
from collections.abc import Collection, Iterable

from control_plane.errors import Forbidden, InvalidInput


class OperatorScope(enum.StrEnum):
    """One thing that an operator's key may be allowed to do."""

    READ_QUEUE = "queue:read"
    MANAGE_QUEUE = "queue:write"
    READ_FLEET = "fleet:read"
    #: Plans for all servers, and what may be healed.
    MANAGE_FLEET = "fleet:write"
    #: Commands to one server, by what harm they can do; which is which is a table (operators/server_commands.py).
    LOOK_AT_SERVER = "commands:look"
    RUN_SERVER = "commands:run"
    HOLD_MAIL = "commands:hold"
    DELETE_MAIL = "commands:delete"
    RESTORE_MAIL = "commands:restore"
    ROTATE_KEY = "commands:rotate-key"
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


def require_one(held: Collection[str], wanted: Collection[OperatorScope]) -> None:
    """Raise `Forbidden` unless one of these scopes is held."""
    if not set(held) & set(wanted):
        names, opens = " or ".join(sorted(wanted)), ", ".join(sorted(held))
        raise Forbidden(f"This needs a key with the scope {names}; the key that was sent opens {opens}.")


def parse_scopes(names: Iterable[str]) -> frozenset[OperatorScope]:
    """Return the scopes of these names, those of reading when there are none; raise `InvalidInput` for another."""
    asked = list(names)
    unknown = sorted(set(asked) - set(OperatorScope))
    if unknown:
        raise InvalidInput(f"there is no scope {', '.join(unknown)}; there are {', '.join(OperatorScope)}")
    return frozenset(map(OperatorScope, asked)) or READING
