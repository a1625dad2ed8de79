"""Notices on their way: claimed when due, tried, and recorded. A claim runs out: nothing is lost with a process.

So each is told at least once, and twice only when a process ends between the channel's answer and the record of it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.webhooks.attempt import Answer
from control_plane.webhooks.verdict import back_off

#: Longer than an attempt can take.
CLAIM_LIFE = timedelta(seconds=90)
#: Then it is given up: who is told of it now is told of the past.
TRIED_FOR = timedelta(days=1)
#: An alert is news: it is tried again within minutes for as long as it is tried.
LONGEST_WAIT = timedelta(minutes=10)

# Of one alert a channel is told in order.
_CLAIM = text(
    "UPDATE alert_notices n SET claim_token = gen_random_uuid(), attempts = n.attempts + 1, due_at = :now + :life"
    " FROM alert_channels c WHERE c.id = n.channel_id AND n.id IN (SELECT d.id FROM alert_notices d"
    "  WHERE d.state = 'waiting' AND d.due_at <= :now AND NOT EXISTS (SELECT FROM alert_notices e"
    "   WHERE e.channel_id = d.channel_id AND e.state = 'waiting' AND e.position < d.position"
    "   AND (e.alert_id = d.alert_id OR e.group_id = d.group_id))"
    "  ORDER BY d.due_at LIMIT :most FOR UPDATE SKIP LOCKED)"
    " RETURNING n.id, n.channel_id, n.kind, n.body, n.claim_token, n.attempts, n.created_at,"
    "  c.kind AS channel_kind, c.target_sealed"
)
_RECORD = text(
    "UPDATE alert_notices SET state = CAST(:state AS text), claim_token = NULL, last_error = :error, due_at = :due,"
    " finished_at = CASE WHEN CAST(:state AS text) <> 'waiting' THEN CAST(:now AS timestamptz) END"
    " WHERE id = :id AND claim_token = :token"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A notice to tell now."""

    id: uuid.UUID
    channel_id: uuid.UUID
    kind: str
    body: dict[str, Any]
    claim_token: uuid.UUID
    #: This one included.
    attempts: int
    created_at: datetime
    channel_kind: str
    target_sealed: bytes = field(repr=False)


async def claim_due(session: AsyncSession, now: datetime, most: int) -> Sequence[Claim]:
    """Claim up to `most` notices that are due."""
    rows = await session.execute(_CLAIM, {"now": now, "life": CLAIM_LIFE, "most": most})
    return [Claim(**row._mapping) for row in rows]  # noqa: SLF001 - public by its docs


async def record(session: AsyncSession, claim: Claim, answer: Answer, now: datetime, dice: float) -> None:
    """Record what came of it; nothing when the claim has run out and another has taken over."""
    given_up = now - claim.created_at >= TRIED_FOR
    state = "sent" if answer.delivered else "dead" if given_up else "waiting"
    values = {
        "id": claim.id,
        "token": claim.claim_token,
        "state": state,
        "error": None if answer.delivered else answer.error or f"it answered {answer.status}",
        "due": now + min(max(back_off(claim.attempts, dice), answer.retry_after or timedelta(0)), LONGEST_WAIT),
        "now": now,
    }
    await session.execute(_RECORD, values)
