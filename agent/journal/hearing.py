"""Applies what the mail log says, together with the place up to which it has been read."""

import sqlite3
from collections.abc import Iterable

from agent.journal.facts import (
    Abandoned,
    Accepted,
    Attempt,
    Fact,
    GaveUp,
    HasMessageId,
    LogCursor,
    Marker,
    Removed,
    Verdict,
)
from agent.journal.records import Refusal
from agent.journal.sends import SendRow, defer, end_row, find_in_postfix, link, relay, unlink
from agent.journal.states import SendState
from protos.agent.v1.delivery_pb2 import RemoteReply


def hear(connection: sqlite3.Connection, facts: Iterable[Fact], cursor: LogCursor, malformed: int) -> None:
    """Apply `facts` in their order and move the cursor past the lines they came from."""
    for fact in facts:
        _apply(connection, fact)
    connection.execute(
        "INSERT OR REPLACE INTO log_cursor (one, inode, position, tail, memory) VALUES (1, ?, ?, ?, ?)",
        (cursor.inode, cursor.offset, cursor.tail, cursor.memory),
    )
    if malformed:
        connection.execute("UPDATE numbers SET value = value + ? WHERE name = 'malformed_log_lines'", (malformed,))


def load_cursor(connection: sqlite3.Connection) -> LogCursor | None:
    """Return the place in the log, or None when none was ever read."""
    row = connection.execute("SELECT inode, position, tail, memory FROM log_cursor").fetchone()
    return LogCursor(*row) if row else None


def note_hole(connection: sqlite3.Connection, at_ms: int) -> None:
    """Note that lines up to this moment may never have been read.

    What is being submitted now began before the hole was found, even when the clock was set back since.
    """
    connection.execute(
        "UPDATE numbers SET value = max(?, (SELECT coalesce(max(changed_ms), 0) FROM sends WHERE state = 'submitting'))"
        " WHERE name = 'log_hole_ms'",
        (at_ms,),
    )


def _apply(connection: sqlite3.Connection, fact: Fact) -> None:
    match fact:
        case HasMessageId():
            link(connection, fact.send_id, fact.queue_id)
        case Abandoned():
            unlink(connection, fact.queue_id)
        case Accepted():
            _in_postfix(connection, fact.queue_id, fact.at_ms)
        case Attempt():
            _attempted(connection, fact)
        case GaveUp():
            _over(connection, fact, Refusal(SendState.EXPIRED, "Postfix gave up after its queue life."))
        case Removed():
            lost = Refusal(SendState.UNCERTAIN, "Postfix removed it from its queue and logged no outcome.")
            _over(connection, fact, lost)
        case Marker():
            pass


def _in_postfix(connection: sqlite3.Connection, queue_id: str, at_ms: int) -> SendRow | None:
    """Return the send under this queue id, relayed by now: a line about it in the queue proves acceptance."""
    row = find_in_postfix(connection, queue_id)
    if row is not None and row.state is not SendState.RELAYED and relay(connection, row.send_id, queue_id, at_ms):
        return find_in_postfix(connection, queue_id)
    return row


def _attempted(connection: sqlite3.Connection, fact: Attempt) -> None:
    row = _in_postfix(connection, fact.queue_id, fact.at_ms)
    if row is None:
        return
    reply = RemoteReply(
        relay=fact.relay,
        enhanced_status=fact.enhanced_status,
        text=fact.text,
        delay_seconds=fact.delay_seconds,
        recipient=fact.recipient,
    )
    match fact.verdict:
        case Verdict.SENT:
            end_row(connection, row, Refusal(SendState.DELIVERED, "", reply), fact.at_ms)
        case Verdict.BOUNCED:
            end_row(connection, row, Refusal(SendState.BOUNCED, "", reply), fact.at_ms)
        case Verdict.DEFERRED:
            defer(connection, row, reply, fact.at_ms)


def _over(connection: sqlite3.Connection, fact: GaveUp | Removed, outcome: Refusal) -> None:
    row = _in_postfix(connection, fact.queue_id, fact.at_ms)
    if row is not None:
        end_row(connection, row, outcome, fact.at_ms)
