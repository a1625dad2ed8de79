"""Changes of state, each with its events, as functions on an open transaction.

Nothing outside this module writes a send's state, and nothing in it changes a state but by the table in `states`.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.journal.many import run_for_all
from agent.journal.records import Refusal, Taken, TakenAt
from agent.journal.spool import Subject, add_event, add_events, make_event, parse_event, told_again
from agent.journal.states import IN_HAND, TRANSITIONS, Arrival, Known, Lease, SendState, on_arrival, sources
from protos.agent.v1.delivery_pb2 import DeliveryEvent, RemoteReply
from protos.queue.v1.envelope_pb2 import Envelope

_SELECT = """
SELECT id, send_id, state, lease_token, lease_number, queue_id, relayed_ms, outcome, changed_ms FROM sends
"""
_BY_SEND_ID = _SELECT + "WHERE send_id IN %s"
_IN_POSTFIX = _SELECT + "WHERE queue_id IN %s AND state IN ('submitting', 'relayed', 'uncertain') ORDER BY id DESC"
_INSERT = """
INSERT INTO sends
    (state, send_id, priority, lease_token, lease_number, lease_deadline_ms, boot_id, boot_deadline_ms, changed_ms)
VALUES %s RETURNING id, send_id
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


def _from(target: SendState) -> str:
    """Return the states, for SQL, from which the table allows `target`."""
    return ", ".join(f"'{state.value}'" for state in sorted(sources(target)))


_BEGIN = f"""
UPDATE sends SET state = 'submitting', changed_ms = ? WHERE send_id = ? AND state IN ({_from(SendState.SUBMITTING)})
"""  # noqa: S608 - of our own names only
_RELAY = f"""
WITH told (send_id, queue_id) AS (VALUES %s)
UPDATE sends SET state = 'relayed', changed_ms = ?, queue_id = told.queue_id, relayed_ms = ?, outcome = NULL
FROM told WHERE sends.send_id = told.send_id AND sends.state IN ({_from(SendState.RELAYED)})
RETURNING id, send_id, lease_token, queue_id
"""  # noqa: S608 - of our own names only

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
    return find_sends(connection, [send_id]).get(send_id)


def find_sends(connection: sqlite3.Connection, send_ids: Sequence[bytes]) -> dict[bytes, SendRow]:
    """Return those of these sends that are known, by their ids."""
    return {row.send_id: row for row in _read(connection, _BY_SEND_ID, send_ids)}


def find_in_postfix(connection: sqlite3.Connection, queue_ids: Sequence[str]) -> dict[str, SendRow]:
    """Return the sends that Postfix has, or has begun, under these queue ids and of which the log may still tell."""
    return {row.queue_id: row for row in _read(connection, _IN_POSTFIX, queue_ids) if row.queue_id is not None}


def take(connection: sqlite3.Connection, taken: Taken, at: TakenAt) -> Arrival:
    """Journal an envelope that has come from Redis, and say what it was."""
    return take_all(connection, [taken], at)[0]


def take_all(connection: sqlite3.Connection, taken: Sequence[Taken], at: TakenAt) -> list[Arrival]:
    """Journal envelopes in their order, and say what each was."""
    (forgotten_until,) = connection.execute(_FORGOTTEN_UNTIL).fetchone()
    rows = find_sends(connection, [each.envelope.send_id for each in taken])
    arrivals: list[Arrival] = []
    new: dict[bytes, Taken] = {}
    for each in taken:
        envelope = each.envelope
        if envelope.send_id in new:
            # Twice at once, under two leases: the second finds the first.
            _insert(connection, list(new.values()), at)
            rows |= find_sends(connection, list(new))
            new.clear()
        row = rows.get(envelope.send_id)
        known = Known(row.state, row.lease_token, row.lease_number) if row else None
        lease = Lease(envelope.lease_token, envelope.lease_number, envelope.lease_deadline_ms)
        arrivals.append(arrival := on_arrival(known, lease, forgotten_until))
        if row is None and arrival is Arrival.TAKE:
            new[envelope.send_id] = each
        elif row is not None and arrival is not Arrival.DROP:
            _renew(connection, row, each, arrival, at)
            rows |= find_sends(connection, [envelope.send_id])
    _insert(connection, list(new.values()), at)
    return arrivals


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
    return relay_all(connection, [(send_id, queue_id)], at_ms) == [True]


def relay_all(connection: sqlite3.Connection, told: Sequence[tuple[bytes, str]], at_ms: int) -> list[bool]:
    """Note the same of many, no two of them the same send: each one's id and queue id."""
    moved = run_for_all(connection, _RELAY, told, at_ms, at_ms)
    _drop_envelopes(connection, [row_id for row_id, _, _, _ in moved])
    of_send = {send_id: Subject(send_id, token, queue_id) for _, send_id, token, queue_id in moved}
    subjects = [of_send[send_id] for send_id, _ in told if send_id in of_send]
    events = [make_event(subject, DeliveryEvent.KIND_RELAYED, at_ms) for subject in subjects]
    add_events(connection, [(event, event.SerializeToString()) for event in events])
    return [send_id in of_send for send_id, _ in told]


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
        _drop_envelopes(connection, [row.id])
    add_events(connection, [(event, content)])
    return True


def defer(connection: sqlite3.Connection, row: SendRow, reply: RemoteReply, at_ms: int) -> None:
    """Tell of a temporary refusal; Postfix keeps the message and the state stays."""
    add_event(connection, make_event(_subject(row), DeliveryEvent.KIND_DEFERRED, at_ms, reply=reply))


def link(connection: sqlite3.Connection, send_id: bytes, queue_id: str) -> bool:
    """Remember that Postfix has begun a send under this queue id; acceptance is another matter.

    Returns whether that was news.
    """
    linked = connection.execute(
        "UPDATE sends SET queue_id = ?"
        " WHERE send_id = ? AND (state = 'submitting' OR (state = 'uncertain' AND relayed_ms IS NULL))",
        (queue_id, send_id),
    )
    return linked.rowcount > 0


def begun_as(connection: sqlite3.Connection, send_ids: Iterable[bytes]) -> dict[bytes, str]:
    """Return the queue id under which Postfix has begun each of these that are being submitted, where it did."""
    rows = find_sends(connection, list(send_ids)).values()
    return {row.send_id: row.queue_id for row in rows if row.state is SendState.SUBMITTING and row.queue_id}


def relayed_as(connection: sqlite3.Connection, send_ids: Iterable[bytes]) -> dict[bytes, str]:
    """Return the queue id under which Postfix has each of these, so far as is known here: those that are relayed."""
    rows = find_sends(connection, list(send_ids)).values()
    return {row.send_id: row.queue_id for row in rows if row.state is SendState.RELAYED and row.queue_id}


def unlink(connection: sqlite3.Connection, row: SendRow) -> None:
    """Forget the queue id under which Postfix began a send and did not finish it."""
    if row.state is SendState.SUBMITTING:
        connection.execute("UPDATE sends SET queue_id = NULL WHERE id = ?", (row.id,))


def _read(connection: sqlite3.Connection, statement: str, keys: Sequence[bytes] | Sequence[str]) -> Iterator[SendRow]:
    for row_id, send_id, state, *rest in run_for_all(connection, statement, [(key,) for key in keys]):
        yield SendRow(row_id, send_id, SendState(state), *rest)


def _subject(row: SendRow) -> Subject:
    """Return what its events carry: the queue id only once Postfix is known to have, or have had, the message."""
    return Subject(row.send_id, row.lease_token, row.queue_id or "" if row.relayed_ms is not None else "")


def _insert(connection: sqlite3.Connection, taken: Sequence[Taken], at: TakenAt) -> None:
    """Journal sends that are not known."""
    rows = [("intent", each.envelope.send_id, each.priority, *_lease(each, at), at.wall_ms) for each in taken]
    row_ids = {send_id: row_id for row_id, send_id in run_for_all(connection, _INSERT, rows)}
    _keep_envelopes(connection, [(row_ids[each.envelope.send_id], each.envelope) for each in taken])


def _renew(connection: sqlite3.Connection, row: SendRow, taken: Taken, arrival: Arrival, at: TakenAt) -> None:
    """Put a known send under its new lease."""
    connection.execute(_RENEW, (*_lease(taken, at), row.id))
    if arrival is Arrival.REPEAT:
        _tell_again(connection, row, taken.envelope.lease_token)
        return
    _keep_envelopes(connection, [(row.id, taken.envelope)])
    if arrival is not Arrival.ADOPT:
        connection.execute(_RESTART, (taken.priority, at.wall_ms, row.id))


def _lease(taken: Taken, at: TakenAt) -> tuple[bytes, int, int, str, int]:
    """Return a lease as it stands in a row, by both clocks."""
    envelope = taken.envelope
    boot_deadline = at.boot.deadline(envelope.lease_deadline_ms, at.wall_ms)
    return (envelope.lease_token, envelope.lease_number, envelope.lease_deadline_ms, at.boot.boot_id, boot_deadline)


def _keep_envelopes(connection: sqlite3.Connection, envelopes: Sequence[tuple[int, Envelope]]) -> None:
    rows = [(row_id, envelope.SerializeToString()) for row_id, envelope in envelopes]
    run_for_all(connection, "INSERT OR REPLACE INTO envelopes (id, envelope) VALUES %s", rows)


def _drop_envelopes(connection: sqlite3.Connection, row_ids: Sequence[int]) -> None:
    run_for_all(connection, "DELETE FROM envelopes WHERE id IN %s", [(row_id,) for row_id in row_ids])


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
