"""Changes of state, each with its events, as functions on an open transaction.

Nothing outside this module writes a send's state, and nothing in it changes a state but by the table in `states`.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from agent.journal.errors import JournalCorrupt
from agent.journal.records import Refusal, Taken, TakenAt
from agent.journal.spool import Subject, add_event, make_event, parse_event, told_again
from agent.journal.states import IN_HAND, TRANSITIONS, Arrival, Known, Lease, SendState, on_arrival, sources
from protos.agent.v1.delivery_pb2 import DeliveryEvent, RemoteReply

_BY_SEND_ID = """
SELECT id, send_id, state, lease_token, lease_number, queue_id, relayed_ms, outcome, changed_ms
FROM sends WHERE send_id = ?
"""
_IN_POSTFIX = """
SELECT id, send_id, state, lease_token, lease_number, queue_id, relayed_ms, outcome, changed_ms
FROM sends WHERE queue_id = ? AND state IN ('submitting', 'relayed', 'uncertain')
"""
_INSERT = """
INSERT INTO sends
    (send_id, state, priority, lease_token, lease_number, lease_deadline_ms, boot_id, boot_deadline_ms, changed_ms)
VALUES (?, 'intent', ?, ?, ?, ?, ?, ?, ?)
"""
_RENEW = """
UPDATE sends
SET lease_token = ?, lease_number = ?, lease_deadline_ms = max(lease_deadline_ms, ?), boot_id = ?, boot_deadline_ms = ?
WHERE id = ?
"""
_FORGOTTEN_UNTIL = "SELECT value FROM numbers WHERE name = 'forgotten_until_ms'"
_RESTART = """
UPDATE sends SET state = 'intent', priority = ?, queue_id = NULL, outcome = NULL, changed_ms = ? WHERE id = ?
"""


def _changes_to(target: SendState, also: str = "") -> str:
    """Return the statement that changes a state as the table allows it, in one look at the row."""
    allowed = ", ".join(f"'{state.value}'" for state in sorted(sources(target)))
    return (
        f"UPDATE sends SET state = '{target.value}', changed_ms = ?{also}"  # noqa: S608 - of our own names only
        f" WHERE send_id = ? AND state IN ({allowed})"
    )


_BEGIN = _changes_to(SendState.SUBMITTING)
_RELAY = _changes_to(SendState.RELAYED, ", queue_id = ?, relayed_ms = ?, outcome = NULL") + " RETURNING id, lease_token"

#: The event that a final state is told by.
_FINAL_KIND = {
    SendState.DELIVERED: DeliveryEvent.KIND_DELIVERED,
    SendState.BOUNCED: DeliveryEvent.KIND_BOUNCED,
    SendState.EXPIRED: DeliveryEvent.KIND_EXPIRED,
    SendState.LEASE_EXPIRED: DeliveryEvent.KIND_LEASE_EXPIRED,
    SendState.FAILED: DeliveryEvent.KIND_FAILED,
    SendState.UNCERTAIN: DeliveryEvent.KIND_UNCERTAIN,
}


@dataclass(frozen=True, slots=True)
class SendRow:
    """One row of `sends`."""

    id: int
    send_id: bytes
    state: SendState
    lease_token: bytes
    lease_number: int
    queue_id: str | None
    relayed_ms: int | None
    outcome: bytes | None
    changed_ms: int


def find_send(connection: sqlite3.Connection, send_id: bytes) -> SendRow | None:
    """Return the send with this id."""
    return _read(connection.execute(_BY_SEND_ID, (send_id,)))


def find_in_postfix(connection: sqlite3.Connection, queue_id: str) -> SendRow | None:
    """Return the send that Postfix has, or has begun, under this queue id and of which the log may still tell."""
    return _read(connection.execute(_IN_POSTFIX, (queue_id,)))


def take(connection: sqlite3.Connection, taken: Taken, at: TakenAt) -> Arrival:
    """Journal an envelope that has come from Redis, and say what it was."""
    envelope = taken.envelope
    row = find_send(connection, envelope.send_id)
    known = Known(row.state, row.lease_token, row.lease_number) if row else None
    lease = Lease(envelope.lease_token, envelope.lease_number, envelope.lease_deadline_ms)
    arrival = on_arrival(known, lease, connection.execute(_FORGOTTEN_UNTIL).fetchone()[0])
    if arrival is Arrival.DROP:
        return arrival
    if row is None:
        _insert(connection, taken, at)
    else:
        _renew(connection, row, taken, arrival, at)
    return arrival


def begin_submission(connection: sqlite3.Connection, send_id: bytes, now_ms: int) -> bool:
    """Mark a send as on its way to Postfix; False when it is not in hand, and then it must not go."""
    return connection.execute(_BEGIN, (now_ms, send_id)).rowcount == 1


def take_back(connection: sqlite3.Connection, send_id: bytes, now_ms: int) -> bool:
    """Note that Postfix has nothing of a submission; False when it turned out to have it after all."""
    row = find_send(connection, send_id)
    if row is None or row.state is not SendState.SUBMITTING:
        return False
    connection.execute("UPDATE sends SET queue_id = NULL WHERE id = ?", (row.id,))
    return _move(connection, row, SendState.INTENT, now_ms)


def relay(connection: sqlite3.Connection, send_id: bytes, queue_id: str, at_ms: int) -> bool:
    """Note that Postfix has the send. False when that was known, or the send was not on its way."""
    moved = connection.execute(_RELAY, (at_ms, queue_id, at_ms, send_id)).fetchall()
    for row_id, lease_token in moved:
        _drop_envelope(connection, row_id)
        subject = Subject(send_id, lease_token, queue_id)
        add_event(connection, make_event(subject, DeliveryEvent.KIND_RELAYED, at_ms))
    return bool(moved)


def end(connection: sqlite3.Connection, send_id: bytes, refusal: Refusal, at_ms: int) -> bool:
    """End a send in a final state; False when its state does not allow that (any more)."""
    row = find_send(connection, send_id)
    return row is not None and end_row(connection, row, refusal, at_ms)


def end_row(connection: sqlite3.Connection, row: SendRow, refusal: Refusal, at_ms: int) -> bool:
    """End the send of a row that was read in this transaction; False when its state does not allow that."""
    if refusal.state not in TRANSITIONS[row.state]:
        return False
    event = make_event(_subject(row), _FINAL_KIND[refusal.state], at_ms, reply=refusal.reply, detail=refusal.detail)
    content = event.SerializeToString()
    connection.execute(
        "UPDATE sends SET state = ?, changed_ms = ?, outcome = ? WHERE id = ?",
        (refusal.state.value, at_ms, content, row.id),
    )
    if row.state in IN_HAND:
        _drop_envelope(connection, row.id)
    add_event(connection, event, content)
    return True


def defer(connection: sqlite3.Connection, row: SendRow, reply: RemoteReply, at_ms: int) -> None:
    """Tell of a temporary refusal; Postfix keeps the message and the state stays."""
    add_event(connection, make_event(_subject(row), DeliveryEvent.KIND_DEFERRED, at_ms, reply=reply))


def link(connection: sqlite3.Connection, send_id: bytes, queue_id: str) -> None:
    """Remember that Postfix has begun a send under this queue id; acceptance is another matter."""
    connection.execute(
        "UPDATE sends SET queue_id = ?"
        " WHERE send_id = ? AND (state = 'submitting' OR (state = 'uncertain' AND relayed_ms IS NULL))",
        (queue_id, send_id),
    )


def begun_as(connection: sqlite3.Connection, send_ids: Iterable[bytes]) -> dict[bytes, str]:
    """Return the queue id under which Postfix has begun each of these that are being submitted, where it did."""
    rows = [find_send(connection, send_id) for send_id in send_ids]
    return {row.send_id: row.queue_id for row in rows if row and row.state is SendState.SUBMITTING and row.queue_id}


def unlink(connection: sqlite3.Connection, queue_id: str) -> None:
    """Forget a queue id under which Postfix began a send and did not finish it."""
    row = find_in_postfix(connection, queue_id)
    if row is not None and row.state is SendState.SUBMITTING:
        connection.execute("UPDATE sends SET queue_id = NULL WHERE id = ?", (row.id,))


def _read(cursor: sqlite3.Cursor) -> SendRow | None:
    values = cursor.fetchone()
    if values is None:
        return None
    row_id, send_id, state, *rest = values
    return SendRow(row_id, send_id, SendState(state), *rest)


def _subject(row: SendRow) -> Subject:
    """Return what its events carry: the queue id only once Postfix is known to have, or have had, the message."""
    return Subject(row.send_id, row.lease_token, row.queue_id or "" if row.relayed_ms is not None else "")


def _insert(connection: sqlite3.Connection, taken: Taken, at: TakenAt) -> None:
    envelope = taken.envelope
    row = (envelope.send_id, taken.priority, *_lease(taken, at), at.wall_ms)
    row_id = connection.execute(_INSERT, row).lastrowid
    if row_id is None:
        raise JournalCorrupt("SQLite gave a new row no id")
    _keep_envelope(connection, row_id, taken)


def _renew(connection: sqlite3.Connection, row: SendRow, taken: Taken, arrival: Arrival, at: TakenAt) -> None:
    """Put a known send under its new lease."""
    connection.execute(_RENEW, (*_lease(taken, at), row.id))
    if arrival is Arrival.REPEAT:
        _tell_again(connection, row, taken.envelope.lease_token)
        return
    _keep_envelope(connection, row.id, taken)
    if arrival is not Arrival.ADOPT:
        connection.execute(_RESTART, (taken.priority, at.wall_ms, row.id))


def _lease(taken: Taken, at: TakenAt) -> tuple[bytes, int, int, str, int]:
    """Return a lease as it stands in a row, by both clocks."""
    envelope = taken.envelope
    boot_deadline = at.boot.deadline(envelope.lease_deadline_ms, at.wall_ms)
    return (envelope.lease_token, envelope.lease_number, envelope.lease_deadline_ms, at.boot.boot_id, boot_deadline)


def _keep_envelope(connection: sqlite3.Connection, row_id: int, taken: Taken) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO envelopes (id, envelope) VALUES (?, ?)", (row_id, taken.envelope.SerializeToString())
    )


def _drop_envelope(connection: sqlite3.Connection, row_id: int) -> None:
    connection.execute("DELETE FROM envelopes WHERE id = ?", (row_id,))


def _tell_again(connection: sqlite3.Connection, row: SendRow, lease_token: bytes) -> None:
    if row.relayed_ms is not None:
        subject = Subject(row.send_id, lease_token, row.queue_id or "")
        add_event(connection, make_event(subject, DeliveryEvent.KIND_RELAYED, row.relayed_ms))
    if row.outcome is not None:
        add_event(connection, told_again(parse_event(row.outcome), lease_token))


def _move(connection: sqlite3.Connection, row: SendRow | None, target: SendState, at_ms: int) -> bool:
    """Change the state if the table allows it from the present one."""
    if row is None or target not in TRANSITIONS[row.state]:
        return False
    connection.execute("UPDATE sends SET state = ?, changed_ms = ? WHERE id = ?", (target.value, at_ms, row.id))
    return True
