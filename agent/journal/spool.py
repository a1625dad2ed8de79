"""Delivery events: made in the transaction of the change they tell, kept until the control plane confirms them."""

import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from agent.journal.errors import JournalCorrupt
from agent.journal.many import run_for_all
from protos.agent.v1.delivery_pb2 import DeliveryEvent, RemoteReply


@dataclass(frozen=True, slots=True)
class Subject:
    """What every event of a send carries."""

    send_id: bytes
    lease_token: bytes
    queue_id: str


def make_event(
    subject: Subject,
    kind: DeliveryEvent.Kind.ValueType,
    at_ms: int,
    *,
    reply: RemoteReply | None = None,
    detail: str = "",
) -> DeliveryEvent:
    """Return a new event, with an id of its own."""
    return DeliveryEvent(
        event_id=uuid.uuid4().bytes,
        send_id=subject.send_id,
        lease_token=subject.lease_token,
        at_ms=at_ms,
        kind=kind,
        queue_id=subject.queue_id,
        reply=reply,
        detail=detail,
    )


def told_again(event: DeliveryEvent, lease_token: bytes) -> DeliveryEvent:
    """Return the same news as another event, under another lease."""
    again = DeliveryEvent()
    again.CopyFrom(event)
    again.event_id = uuid.uuid4().bytes
    again.lease_token = lease_token
    return again


def add_event(connection: sqlite3.Connection, event: DeliveryEvent) -> None:
    """Spool `event`."""
    add_events(connection, [(event, event.SerializeToString())])


def add_events(connection: sqlite3.Connection, events: Sequence[tuple[DeliveryEvent, bytes]]) -> None:
    """Spool events in their order, each given with its bytes."""
    rows = [(event.event_id, event.send_id, content) for event, content in events]
    run_for_all(connection, "INSERT INTO events (event_id, send_id, event) VALUES %s", rows)


def oldest_events(connection: sqlite3.Connection, limit: int) -> list[DeliveryEvent]:
    """Return the first `limit` spooled events."""
    rows = connection.execute("SELECT event FROM events ORDER BY seq LIMIT ?", (limit,))
    return [parse_event(row[0]) for row in rows]


def remove_events(connection: sqlite3.Connection, event_ids: Iterable[bytes]) -> None:
    """Forget these events; ids that are not there are ignored."""
    run_for_all(connection, "DELETE FROM events WHERE event_id IN %s", [(event_id,) for event_id in event_ids])


def parse_event(content: bytes) -> DeliveryEvent:
    """Read an event back.

    Raises:
        JournalCorrupt: these are not the bytes of an event.

    """
    try:
        return DeliveryEvent.FromString(content)
    except DecodeError as error:
        raise JournalCorrupt("the journal holds an event that cannot be read") from error
