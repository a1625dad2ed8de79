"""One send's state and the whole story of how it came to it, from its row and its events."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from control_plane.errors import NotFound
from control_plane.messages.sent import COLUMNS, Sent
from control_plane.tenancy.scope import TenantScope

_SEND = SQL("SELECT {} FROM messages WHERE tenant_id = %(tenant_id)s AND id = %(id)s").format(
    SQL(", ").join(map(Identifier, COLUMNS))
)
_MOMENTS = """
SELECT kind, at, applied, detail FROM message_events
WHERE tenant_id = %(tenant_id)s AND message_id = %(id)s ORDER BY at, recorded_at
"""
# The send by which an uncertain one was sent again; each of the two tells of the other.
_RESENT = """
SELECT 'resent' AS kind, accepted_at AS at, true AS applied, jsonb_build_object('message_id', id) AS detail
FROM messages WHERE tenant_id = %(tenant_id)s AND resend_of = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a send, by the clock of whoever saw it.

    `applied` is false for what came too late to change anything. `detail` holds what the event has of queue_id, relay,
    enhanced_status, text, delay_seconds, detail; of a send that was sent again, the other send's id.
    """

    kind: str
    at: dt.datetime
    applied: bool
    detail: dict[str, Any]


async def load_send(
    connection: AsyncConnection[Any], scope: TenantScope, message_id: uuid.UUID
) -> tuple[Sent, tuple[Moment, ...]]:
    """Return a send and its timeline; raise `NotFound` when the tenant has none of that id."""
    wanted = {"tenant_id": scope.tenant_id, "id": message_id}
    sends = connection.cursor(row_factory=class_row(Sent))
    sent = await (await sends.execute(_SEND, wanted)).fetchone()
    if sent is None:
        raise NotFound("There is no such message.")
    moments = connection.cursor(row_factory=class_row(Moment))
    happened = await (await moments.execute(_MOMENTS, wanted)).fetchall()
    resent = await (await moments.execute(_RESENT, wanted)).fetchall()
    return sent, timeline(sent, [*happened, *resent])


def timeline(sent: Sent, happened: Sequence[Moment]) -> tuple[Moment, ...]:
    """Return the moments of a send in order: accepted first, and the rest by time."""
    queued = [] if sent.queued_at is None else [Moment("queued", sent.queued_at, applied=True, detail={})]
    origin = {"resend_of": str(sent.resend_of)} if sent.resend_of else {}
    # A stable sort: of what happened in the same millisecond, the row's own moment comes first.
    return (
        Moment("accepted", sent.accepted_at, applied=True, detail=origin),
        *sorted([*queued, *happened], key=attrgetter("at")),
    )
