"""Pauses: what is not leased until it is resumed. What was leased before goes on.

They work in the caller's session: an operator's sees all tenants, a tenant's its own, by row-level security. An
operator's pause is not for the tenant to resume, nor a tenant's for the operator: each stands by itself, and what
either has paused stays paused.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.queuer.keys import PRIORITIES
from db.by_time import Place, oldest_first
from db.models import Inbox, Pause, Tenant, VpsServer


class Subject(StrEnum):
    """What a pause can be of."""

    VPS = "vps"
    INBOX = "inbox"
    TENANT = "tenant"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class Held:
    """The subject of a pause. Without a tenant, a priority is that of all tenants."""

    subject: Subject
    tenant_id: uuid.UUID | None
    vps_id: uuid.UUID | None = None
    inbox_id: uuid.UUID | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class PauseInForce:
    """A pause as it is listed."""

    id: uuid.UUID
    held: Held
    reason: str | None
    by_operator: bool
    created_at: datetime
    #: Made by a rule of self-healing (control_plane/healing), in the operators' name.
    by_healing: bool = False


_PAUSE = text("""
INSERT INTO pauses (tenant_id, vps_id, inbox_id, priority, reason)
VALUES (:tenant_id, :vps_id, :inbox_id, :priority, :reason) ON CONFLICT DO NOTHING
""")
_PAUSE_AS_OPERATOR = text("""
INSERT INTO pauses (tenant_id, vps_id, inbox_id, priority, reason, by_operator)
VALUES (:tenant_id, :vps_id, :inbox_id, :priority, :reason, true) ON CONFLICT DO NOTHING
""")
_RESUME = text("""
UPDATE pauses SET resumed_at = now()
WHERE resumed_at IS NULL AND by_operator = :by_operator AND healing_act_id IS NULL
  AND (tenant_id, vps_id, inbox_id, priority)
      IS NOT DISTINCT FROM (CAST(:tenant_id AS uuid), CAST(:vps_id AS uuid), CAST(:inbox_id AS uuid),
                            CAST(:priority AS smallint))
RETURNING id
""")
_WAKE = text("SELECT pg_notify('sends_ready', '')")


async def held_by(session: AsyncSession, subject: Subject, name: str, tenant_id: uuid.UUID | None = None) -> Held:
    """Return what a subject and its id, or its name, stand for in this session.

    A priority is high, normal or low, of one tenant or of all; a server or an inbox is the tenant's, where one is
    said. Raises `InvalidInput`, and `NotFound` for what the session does not see or is not the tenant's.
    """
    if subject is Subject.PRIORITY:
        if name not in PRIORITIES:
            raise InvalidInput(f"A priority is one of {', '.join(PRIORITIES)}.", "/of")
        if tenant_id is not None:
            await _tenant_of(session, Subject.TENANT, tenant_id)
        return Held(subject, tenant_id, priority=PRIORITIES.index(name))
    try:
        row_id = uuid.UUID(name)
    except ValueError:
        raise InvalidInput(f"A {subject} is named by its id, a UUID.", "/of") from None
    owner = await _tenant_of(session, subject, row_id)
    if tenant_id not in {None, owner}:
        raise NotFound(f"There is no such {subject}.")
    return Held(
        subject,
        owner,
        vps_id=row_id if subject is Subject.VPS else None,
        inbox_id=row_id if subject is Subject.INBOX else None,
    )


async def pause(
    session: AsyncSession, held: Held, reason: str | None = None, *, by_operator: bool = False
) -> PauseInForce:
    """Lease nothing of this until it is resumed, and return the pause; pausing it again changes nothing.

    Raises `NotFound`, and `Conflict` when a pause that was there is taken back at this moment.
    """
    statement = _PAUSE_AS_OPERATOR if by_operator else _PAUSE
    try:
        await session.execute(statement, {**_columns(held), "reason": reason})
    except IntegrityError as error:
        raise NotFound(f"The {held.subject} is being removed.") from error
    of_the_caller = (held, by_operator, False)
    for each in await pauses_in_force(session):
        if (each.held, each.by_operator, each.by_healing) == of_the_caller:
            return each
    raise Conflict(f"A pause of the {held.subject} was just taken back; pause it again.")


async def resume(session: AsyncSession, held: Held, *, by_operator: bool = False) -> None:
    """Take the pause back and wake the queuers when the transaction commits. Raises `NotFound` when there is none."""
    resumed = await session.scalar(_RESUME, {**_columns(held), "by_operator": by_operator})
    if resumed is None:
        raise NotFound(f"The {held.subject} is not paused by you.")
    await session.execute(_WAKE)


async def resume_by_id(
    session: AsyncSession, pause_id: uuid.UUID, tenant_id: uuid.UUID | None = None, *, by_operator: bool = False
) -> Held:
    """Take the caller's own pause back, as `resume` does, and return what it was of; of one tenant, if one is said."""
    own = [Pause.id == pause_id, Pause.resumed_at.is_(None), Pause.by_operator == by_operator]
    own += [] if tenant_id is None else [Pause.tenant_id == tenant_id]
    resumed = await session.scalar(update(Pause).where(*own).values(resumed_at=func.now()).returning(Pause))
    if resumed is None:
        raise NotFound("There is no such pause of your own.")
    await session.execute(_WAKE)
    return _held(resumed)


async def pauses_in_force(
    session: AsyncSession, after: Place | None = None, limit: int | None = None
) -> Sequence[PauseInForce]:
    """Return a page of the pauses that the session sees, the oldest first; without a limit, all."""
    query = select(Pause).where(Pause.resumed_at.is_(None))
    rows = await session.scalars(oldest_first(query, Pause.created_at, Pause.id, after).limit(limit))
    return [
        PauseInForce(
            row.id, _held(row), row.reason, row.by_operator, row.created_at, by_healing=row.healing_act_id is not None
        )
        for row in rows
    ]


def _held(row: Pause) -> Held:
    match row:
        case Pause(vps_id=uuid.UUID()):
            subject = Subject.VPS
        case Pause(inbox_id=uuid.UUID()):
            subject = Subject.INBOX
        case Pause(priority=int()):
            subject = Subject.PRIORITY
        case _:
            subject = Subject.TENANT
    return Held(subject, row.tenant_id, row.vps_id, row.inbox_id, row.priority)


def _columns(held: Held) -> dict[str, object]:
    return {
        "tenant_id": held.tenant_id,
        "vps_id": held.vps_id,
        "inbox_id": held.inbox_id,
        "priority": held.priority,
    }


async def _tenant_of(session: AsyncSession, subject: Subject, row_id: uuid.UUID) -> uuid.UUID:
    match subject:
        case Subject.VPS:
            query = select(VpsServer.tenant_id).where(VpsServer.id == row_id)
        case Subject.INBOX:
            query = select(Inbox.tenant_id).where(Inbox.id == row_id)
        case _:
            query = select(Tenant.id).where(Tenant.id == row_id)
    owner = await session.scalar(query)
    if owner is None:
        raise NotFound(f"There is no such {subject}.")
    return owner
