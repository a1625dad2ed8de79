"""Dead letters, and what failed: listed, and retried or dropped by an operator.

Only what Postfix never had is retried: a dead letter goes to the same server again, while its journal surely knows it
by its id if it was submitted after all, and a failed send is one that the agent says it did not submit. What its tenant
has sent again meanwhile is not.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A send that waits for an operator, or that failed."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    inbox_id: uuid.UUID | None
    state: str
    reason: str | None
    recipient: str
    leases: int
    accepted_at: datetime
    queued_at: datetime | None


@dataclass(frozen=True, slots=True)
class LetterEvent:
    """Something that happened to a send, and what our own parts say of it; never what a remote server wrote."""

    kind: str
    at: datetime
    applied: bool
    detail: str | None


_SENDS = (
    "SELECT m.id, m.tenant_id, m.vps_id, m.inbox_id, m.state, m.state_reason AS reason, m.recipient, m.leases,"
    " m.accepted_at, m.queued_at FROM messages m"
)
_DEAD = text(_SENDS + " WHERE m.state = 'dead' AND m.id > :after ORDER BY m.id LIMIT :page")
# The primary key begins with the tenant.
_ONE = text(_SENDS + " JOIN tenants t ON t.id = m.tenant_id WHERE m.id = :id")
_EVENTS = text("""
SELECT kind, at, applied, detail->>'detail' AS detail FROM message_events
WHERE tenant_id = :tenant_id AND message_id = :id ORDER BY at, recorded_at
""")
# An inbox that is gone has nothing to send any more.
_RETRY = text("""
WITH retried AS (
    UPDATE messages m
    SET state = 'accepted', state_reason = NULL, final_at = NULL, silent_leases = 0
    -- The primary key begins with the tenant.
    FROM tenants t, unnest(CAST(:ids AS uuid[])) AS wanted (id)
    WHERE m.tenant_id = t.id AND m.id = wanted.id
      AND m.state IN ('dead', 'failed') AND m.relayed_at IS NULL AND m.queue_id IS NULL
      -- Without what it said, as once it was erased, there is nothing to send.
      AND octet_length(m.payload) > 0
      AND coalesce(m.silent_since > now() - interval '6 days', true)
      AND NOT EXISTS (SELECT FROM messages again WHERE again.tenant_id = m.tenant_id AND again.resend_of = m.id)
      AND EXISTS (SELECT FROM inboxes i
                  WHERE i.tenant_id = m.tenant_id AND i.id = m.inbox_id AND i.status <> 'deleting')
      AND EXISTS (SELECT FROM vps_servers v WHERE v.id = m.vps_id AND v.status <> 'deleted')
    RETURNING m.tenant_id, m.id, m.isolated
), told AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
    SELECT tenant_id, id, isolated, gen_random_uuid(), 'retried', now(), true,
           '{"detail": "an operator had it tried again"}'
    FROM retried
)
SELECT id, pg_notify('sends_ready', '') FROM retried
""")
_DROP = text("""
WITH dropped AS (
    UPDATE messages m
    SET state = 'uncertain', state_reason = concat_ws('; ', 'dropped by an operator', m.state_reason), final_at = now()
    FROM tenants t, unnest(CAST(:ids AS uuid[])) AS wanted (id)
    WHERE m.tenant_id = t.id AND m.id = wanted.id AND m.state = 'dead'
    RETURNING m.tenant_id, m.id, m.isolated, m.state_reason
), told AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
    SELECT tenant_id, id, isolated, gen_random_uuid(), 'dropped', now(), true,
           jsonb_build_object('detail', state_reason)
    FROM dropped
)
SELECT id FROM dropped
""")
_BEFORE_ALL = uuid.UUID(int=0)


async def dead_letters(session: AsyncSession, after: uuid.UUID | None = None, page: int = 100) -> Sequence[DeadLetter]:
    """Return the next page of dead letters by id; needs the system role, as all of this does."""
    rows = await session.execute(_DEAD, {"after": after or _BEFORE_ALL, "page": page})
    return [DeadLetter(**row) for row in rows.mappings()]


async def find_send(session: AsyncSession, send_id: uuid.UUID) -> DeadLetter | None:
    """Return a send whatever its state, or None when there is none of that id."""
    row = (await session.execute(_ONE, {"id": send_id})).mappings().one_or_none()
    return DeadLetter(**row) if row else None


async def events_of(session: AsyncSession, letter: DeadLetter) -> Sequence[LetterEvent]:
    """Return what happened to a send, the oldest first."""
    rows = await session.execute(_EVENTS, {"tenant_id": letter.tenant_id, "id": letter.id})
    return [LetterEvent(**row) for row in rows.mappings()]


async def retry(session: AsyncSession, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Let dead or failed sends be leased again, and return which could be: those never known to be with Postfix."""
    return set(await session.scalars(_RETRY, {"ids": list(ids)}))


async def drop(session: AsyncSession, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """End dead letters, and return which were dead.

    As uncertain: their server took them and never said what it did.
    """
    return set(await session.scalars(_DROP, {"ids": list(ids)}))
