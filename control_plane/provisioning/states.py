"""What a server and an inbox may be, and how one state follows another: the tables are the diagram."""

import enum
import uuid
from collections.abc import Iterable, Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class ServerStatus(enum.StrEnum):
    """`vps_servers.status`."""

    #: It is being made, or made ready.
    PROVISIONING = "provisioning"
    #: Mail was seen to flow through it.
    READY = "ready"
    #: A step could not be done; `status_reason` says which and why. What was made for it is being taken back, or gone.
    FAILED = "failed"
    #: Its removal was asked for.
    DELETING = "deleting"
    #: It is gone; the row stays for the history.
    DELETED = "deleted"


class InboxStatus(enum.StrEnum):
    """`inboxes.status`."""

    #: Its server is not ready, or does not have it yet.
    PENDING_SETUP = "pending_setup"
    #: Its server has it; its DNS records are not all there yet.
    PENDING_DNS = "pending_dns"
    #: It can send and receive.
    READY = "ready"
    #: A step could not be done; `status_reason` says which and why.
    FAILED = "failed"
    #: Its removal was asked for.
    DELETING = "deleting"


SERVER_TRANSITIONS: Mapping[ServerStatus, frozenset[ServerStatus]] = {
    ServerStatus.PROVISIONING: frozenset({ServerStatus.READY, ServerStatus.FAILED, ServerStatus.DELETING}),
    ServerStatus.READY: frozenset({ServerStatus.DELETING}),
    ServerStatus.FAILED: frozenset({ServerStatus.DELETING}),
    ServerStatus.DELETING: frozenset({ServerStatus.DELETED, ServerStatus.FAILED}),
    ServerStatus.DELETED: frozenset(),
}

INBOX_TRANSITIONS: Mapping[InboxStatus, frozenset[InboxStatus]] = {
    InboxStatus.PENDING_SETUP: frozenset({InboxStatus.PENDING_DNS, InboxStatus.FAILED, InboxStatus.DELETING}),
    InboxStatus.PENDING_DNS: frozenset({InboxStatus.READY, InboxStatus.FAILED, InboxStatus.DELETING}),
    InboxStatus.READY: frozenset({InboxStatus.DELETING}),
    InboxStatus.FAILED: frozenset({InboxStatus.DELETING}),
    InboxStatus.DELETING: frozenset({InboxStatus.FAILED}),
}

_MOVE_SERVER = text(
    "UPDATE vps_servers SET status = :to, status_reason = :reason WHERE id = :id AND status = ANY(:before)"
)
_MOVE_INBOX = text(
    "UPDATE inboxes SET status = :to, status_reason = :reason, updated_at = now()"
    " WHERE id = :id AND status = ANY(:before)"
)
_NOTE_SERVER = text("UPDATE vps_servers SET status_reason = :reason WHERE id = :id AND status = ANY(:present)")
_NOTE_INBOX = text(
    "UPDATE inboxes SET status_reason = :reason, updated_at = now() WHERE id = :id AND status = ANY(:present)"
)


async def move_server(
    session: AsyncSession,
    vps_id: uuid.UUID,
    to: ServerStatus,
    reason: str | None = None,
    present: Iterable[ServerStatus] = ServerStatus,
) -> None:
    """Give the server another status if its own is one of `present` and may be followed by that; else leave it."""
    before = [str(status) for status in present if to in SERVER_TRANSITIONS[status]]
    await session.execute(_MOVE_SERVER, {"id": vps_id, "to": str(to), "reason": reason, "before": before})


async def move_inbox(
    session: AsyncSession,
    inbox_id: uuid.UUID,
    to: InboxStatus,
    reason: str | None = None,
    present: Iterable[InboxStatus] = InboxStatus,
) -> None:
    """Give the inbox another status if its own is one of `present` and may be followed by that; else leave it."""
    before = [str(status) for status in present if to in INBOX_TRANSITIONS[status]]
    await session.execute(_MOVE_INBOX, {"id": inbox_id, "to": str(to), "reason": reason, "before": before})


async def note_server(
    session: AsyncSession, vps_id: uuid.UUID, reason: str | None, present: Iterable[ServerStatus]
) -> None:
    """Say why a server that has one of these statuses does not get on, or that nothing is known to hold it."""
    await session.execute(_NOTE_SERVER, {"id": vps_id, "reason": reason, "present": list(map(str, present))})


async def note_inbox(
    session: AsyncSession, inbox_id: uuid.UUID, reason: str | None, present: Iterable[InboxStatus]
) -> None:
    """Do the same for an inbox."""
    await session.execute(_NOTE_INBOX, {"id": inbox_id, "reason": reason, "present": list(map(str, present))})
