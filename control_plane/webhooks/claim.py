"""Claim deliveries and record what came of them. A claim runs out: what a dead process held is tried again.

So an event is told at least once, under the same id each time; it is told twice if a process ends between the
endpoint's answer and the record of it. Whoever records must still hold the claim.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import resources
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.webhooks.attempt import Answer
from control_plane.webhooks.event_types import EventType
from control_plane.webhooks.verdict import Verdict
from db.session import Database

#: Longer than an attempt can take.
CLAIM_LIFE = timedelta(seconds=60)
#: Attempts at one endpoint at a time, over all processes.
AT_ONCE = 8

# Compiling a plan of many look-ups takes longer than all of them.
_UNCOMPILED = "SET LOCAL jit = off"
_CLAIM = resources.files("control_plane.webhooks").joinpath("claim.sql").read_text()

# The endpoint's row first, whoever it is that writes: no two can wait for each other. Not FOR UPDATE, for which whoever
# writes a new event for it would have to wait.
_LOCK_ENDPOINT = text("SELECT FROM webhook_endpoints WHERE id = :endpoint FOR NO KEY UPDATE")
_RECORD = text(
    "UPDATE webhook_deliveries SET state = CAST(:state AS text), claim_token = NULL, last_status = :status,"
    " last_error = :error, due_at = now() + CAST(:after AS interval),"
    " finished_at = CASE WHEN CAST(:state AS text) <> 'waiting' THEN now() END"
    " WHERE id = :id AND claim_token = :token RETURNING id"
)
_NEXT = text(
    "UPDATE webhook_deliveries SET due_at = now() WHERE id = (SELECT id FROM webhook_deliveries"
    "  WHERE endpoint_id = :endpoint AND subject_id = :subject AND state = 'waiting' ORDER BY position LIMIT 1)"
)
_WELL = text("UPDATE webhook_endpoints SET failing_since = NULL WHERE id = :endpoint AND failing_since IS NOT NULL")
_FAILING = text("UPDATE webhook_endpoints SET failing_since = now() WHERE id = :endpoint AND failing_since IS NULL")
_DISABLE = text(
    "UPDATE webhook_endpoints SET enabled = false, disabled_reason = :reason WHERE id = :endpoint AND enabled"
    " RETURNING tenant_id, workspace_id, url"
)
_BURY = text(
    "UPDATE webhook_deliveries SET state = 'dead', claim_token = NULL, finished_at = now(),"
    " last_error = coalesce(last_error, 'the endpoint was disabled')"
    " WHERE endpoint_id = :endpoint AND state = 'waiting'"
)
_TELL = text(
    "INSERT INTO tenant_events (tenant_id, type, subject_id, workspace_id, at, data)"
    " VALUES (:tenant, :type, :endpoint, :workspace, now(),"
    "  jsonb_build_object('webhook_id', CAST(:endpoint AS uuid), 'url', CAST(:url AS text),"
    "                     'reason', CAST(:reason AS text)))"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery to try now, with all that this needs."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    endpoint_id: uuid.UUID
    subject_id: uuid.UUID
    event_id: uuid.UUID
    claim_token: uuid.UUID
    #: This one included.
    attempts: int
    waited: timedelta
    failing: timedelta
    url: str
    secret_sealed: bytes = field(repr=False)
    previous_secret_sealed: bytes | None = field(repr=False)
    type: str
    at: datetime
    data: dict[str, Any]


async def claim_due(database: Database, most: int) -> tuple[Sequence[Claim], bool]:
    """Claim deliveries for the `most` places that are free; return them, and whether more may be claimed at once.

    Some places are left to tenants that have none yet (claim.sql).
    """
    values = {"at_once": AT_ONCE, "most": most, "claim_life": CLAIM_LIFE}
    async with database.system() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(_UNCOMPILED)
        rows = (await connection.exec_driver_sql(_CLAIM, values)).all()
    claims = [Claim(**row._mapping) for row in rows if row.claim_token is not None]  # noqa: SLF001 - public by its docs
    return claims, bool(rows)


async def record(database: Database, claim: Claim, answer: Answer, verdict: Verdict) -> None:
    """Record what came of an attempt; nothing, when the claim has run out and another has taken over."""
    state = "delivered" if verdict.delivered else "dead" if verdict.after is None else "waiting"
    values = {
        "id": claim.id,
        "token": claim.claim_token,
        "state": state,
        "status": answer.status,
        "error": None if verdict.delivered else answer.error or f"it answered {answer.status}",
        "after": verdict.after or timedelta(0),
    }
    endpoint = {"endpoint": claim.endpoint_id}
    async with database.system() as session:
        await session.execute(_LOCK_ENDPOINT, endpoint)
        if (await session.execute(_RECORD, values)).first() is None:
            return
        await session.execute(_WELL if verdict.delivered else _FAILING, endpoint)
        if state != "waiting":
            await session.execute(_NEXT, {**endpoint, "subject": claim.subject_id})
        if verdict.disable is not None:
            await _disable(session, claim.endpoint_id, verdict.disable)


async def _disable(session: AsyncSession, endpoint_id: uuid.UUID, reason: str) -> None:
    """Tell the endpoint nothing any more, and the tenant's others why."""
    row = (await session.execute(_DISABLE, {"endpoint": endpoint_id, "reason": reason})).first()
    if row is None:
        return
    await session.execute(_BURY, {"endpoint": endpoint_id})
    values = {"tenant": row.tenant_id, "type": EventType.WEBHOOK_DISABLED.value, "workspace": row.workspace_id}
    await session.execute(_TELL, {**values, "endpoint": endpoint_id, "url": row.url, "reason": reason})
