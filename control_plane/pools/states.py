"""What a further address of a server may be, and how one state follows another: the table is the diagram."""

import enum
import uuid
from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class AddressState(enum.StrEnum):
    """`server_addresses.state`."""

    #: The provider, DNS or the server does not have it yet. Nobody sends by it.
    REQUESTED = "requested"
    #: It is configured on its server, and both directions of DNS name it.
    READY = "ready"
    #: It is being given back. Nobody new is bound to it, and what is on its way goes out by it.
    DRAINING = "draining"
    #: Its server lets go of it; then its PTR is removed, and the provider gets it back.
    RELEASING = "releasing"
    #: It is gone; the row stays for the history.
    RELEASED = "released"
    #: It could not be had; `state_reason` says why. What was made for it is taken back.
    FAILED = "failed"


ADDRESS_TRANSITIONS: Mapping[AddressState, frozenset[AddressState]] = {
    AddressState.REQUESTED: frozenset({AddressState.READY, AddressState.FAILED}),
    AddressState.READY: frozenset({AddressState.DRAINING}),
    AddressState.DRAINING: frozenset({AddressState.RELEASING}),
    AddressState.RELEASING: frozenset({AddressState.RELEASED}),
    AddressState.RELEASED: frozenset(),
    AddressState.FAILED: frozenset(),
}

_MOVE = text(
    "UPDATE server_addresses SET state = :to, state_reason = :reason WHERE id = :id AND state = ANY(:before)"
    " RETURNING id"
)
_NOTE = text("UPDATE server_addresses SET state_reason = :reason WHERE id = :id")


async def move_address(
    session: AsyncSession, address_id: uuid.UUID, to: AddressState, reason: str | None = None
) -> bool:
    """Give the address another state if its own may be followed by that; else leave it, and say so."""
    before = [str(state) for state, after in ADDRESS_TRANSITIONS.items() if to in after]
    row = {"id": address_id, "to": str(to), "reason": reason, "before": before}
    return await session.scalar(_MOVE, row) is not None


async def note_address(session: AsyncSession, address_id: uuid.UUID, reason: str | None) -> None:
    """Say why an address does not get on, or that nothing is known to hold it."""
    await session.execute(_NOTE, {"id": address_id, "reason": reason})
