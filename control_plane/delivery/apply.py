"""Apply what agents tell of sends: a batch in one transaction, each event once, under row locks.

The rows are locked first, so the claim, a lease that runs out and another batch cannot come in between; then the pure
part decides (progress.py), and what it decided is written. The caller confirms to the agent only after the commit, and
the agent repeats what is not confirmed. Sends that are closed are told with it, whether these events closed them or
not: the agent remembers a send, so as never to submit it twice, until it has heard that. Addresses that
bounced for good are suppressed in the same transaction.
"""

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.delivery.events import Event, read_event
from control_plane.delivery.hard_bounces import is_hard
from control_plane.delivery.progress import Progress, advance
from control_plane.delivery.states import CLOSED, Kind, State
from control_plane.delivery.traced import trace_events
from control_plane.errors import InvalidInput
from control_plane.messages.erased import ERASED
from control_plane.telemetry.instruments import EVENTS
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent, EventsConfirmed

_SQL = resources.files("control_plane.delivery")
_LOCK_SENDS = _SQL.joinpath("lock_sends.sql").read_text()
_RECORD_EVENTS = _SQL.joinpath("record_events.sql").read_text()
_MOVE_SENDS = _SQL.joinpath("move_sends.sql").read_text()
_SUPPRESS_BOUNCED = _SQL.joinpath("suppress_bounced.sql").read_text()

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Send:
    """A locked send and what the batch has made of it so far."""

    tenant_id: uuid.UUID
    #: Where it lies, and its events with it.
    isolated: bool
    progress: Progress
    known_events: set[uuid.UUID]
    #: Nothing of its recipient is kept any more, and so nothing that comes late.
    erased: bool
    moved: bool = False


async def apply_events(database: Database, vps_id: uuid.UUID, events: Sequence[DeliveryEvent]) -> EventsConfirmed:
    """Apply a server's events in their order, commit, and return what the agent may forget.

    Of the events those are all of them: what is malformed, or about a send that this server does not have, is logged
    and changes nothing, and repeating it would help nobody. When nothing was applied, raises one of
    `db.notifications.DATABASE_AWAY`.
    """
    began_ns = time.time_ns()
    readable = list(_readable(vps_id, events))
    async with database.system() as session:
        connection = await session.connection()
        sends = await _lock(connection, vps_id, readable)
        judged = _judge(sends, readable)
        if judged:
            tenant_id = next(iter(sends.values())).tenant_id
            await _record(connection, tenant_id, sends, judged)
            await _move(connection, tenant_id, {key: send for key, send in sends.items() if send.moved})
            await _suppress(connection, tenant_id, judged)
    for event, applied in judged:
        EVENTS.labels(event.kind.value, "moved" if applied else "late").inc()
    trace_events(vps_id, (event for event, _ in judged), began_ns)
    strangers = {event.send_id for event in readable} - sends.keys()
    if strangers:
        _log.warning("%s told of %d sends that it does not have: %s", vps_id, len(strangers), min(strangers))
    closed = [send_id.bytes for send_id, send in sends.items() if send.progress.state in CLOSED]
    return EventsConfirmed(event_ids=[event.event_id for event in events], closed_send_ids=closed)


def _readable(vps_id: uuid.UUID, events: Iterable[DeliveryEvent]) -> Iterable[Event]:
    for event in events:
        try:
            yield read_event(event)
        except InvalidInput as error:
            _log.warning("set aside an event of %s: %s", vps_id, error)


def _judge(sends: dict[uuid.UUID, _Send], events: Iterable[Event]) -> list[tuple[Event, bool]]:
    """Move the sends on by each event that is new, and return those with whether they had an effect."""
    judged = []
    for event in events:
        send = sends.get(event.send_id)
        if send is None or event.id in send.known_events:
            continue
        send.known_events.add(event.id)
        kept = replace(event, reason=ERASED, detail="{}") if send.erased else event
        progress = advance(send.progress, kept)
        if progress is not None:
            send.progress, send.moved = progress, True
        judged.append((kept, progress is not None))
    return judged


async def _lock(connection: AsyncConnection, vps_id: uuid.UUID, events: Sequence[Event]) -> dict[uuid.UUID, _Send]:
    key = {
        "vps_id": vps_id,
        "erased": ERASED,
        "send_ids": list({event.send_id for event in events}),
        "event_ids": [event.id for event in events],
    }
    rows = await connection.exec_driver_sql(_LOCK_SENDS, key)
    return {row.id: _send(row) for row in rows}


def _send(row: Row[Any]) -> _Send:
    progress = Progress(
        State(row.state),
        row.lease_token,
        queue_id=row.queue_id,
        relayed_at=row.relayed_at,
        inbox_gone=row.inbox_gone,
    )
    return _Send(row.tenant_id, row.isolated, progress, set(row.known_events), row.erased)


async def _record(
    connection: AsyncConnection,
    tenant_id: uuid.UUID,
    sends: dict[uuid.UUID, _Send],
    judged: Sequence[tuple[Event, bool]],
) -> None:
    events = [event for event, _ in judged]
    columns = {
        "tenant_id": tenant_id,
        "message_ids": [event.send_id for event in events],
        "isolated": [sends[event.send_id].isolated for event in events],
        "event_ids": [event.id for event in events],
        "kinds": [event.kind.value for event in events],
        "ats": [event.at for event in events],
        "lease_tokens": [event.lease_token for event in events],
        "applied": [applied for _, applied in judged],
        "details": [event.detail for event in events],
    }
    await connection.exec_driver_sql(_RECORD_EVENTS, columns)


async def _move(connection: AsyncConnection, tenant_id: uuid.UUID, sends: dict[uuid.UUID, _Send]) -> None:
    progress = [send.progress for send in sends.values()]
    columns = {
        "tenant_id": tenant_id,
        "ids": list(sends),
        "states": [each.state.value for each in progress],
        "reasons": [each.reason for each in progress],
        "queue_ids": [each.queue_id for each in progress],
        "relayed_ats": [each.relayed_at for each in progress],
        "final_ats": [each.final_at for each in progress],
    }
    if sends:
        await connection.exec_driver_sql(_MOVE_SENDS, columns)


async def _suppress(connection: AsyncConnection, tenant_id: uuid.UUID, judged: Sequence[tuple[Event, bool]]) -> None:
    hard = [
        event.send_id
        for event, applied in judged
        if applied and event.kind is Kind.BOUNCED and is_hard(event.enhanced_status)
    ]
    if hard:
        await connection.exec_driver_sql(_SUPPRESS_BOUNCED, {"tenant_id": tenant_id, "ids": hard, "erased": ERASED})
