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
    MasterStarted,
    Removed,
    Verdict,
)
from agent.journal.records import Refusal
from agent.journal.sends import SendRow, defer, end_row, find_in_postfix, link, relay, unlink
from agent.journal.states import SendState
from protos.agent.v1.delivery_pb2 import RemoteReply

_GAVE_UP = Refusal(SendState.EXPIRED, "Postfix gave up after its queue life.")
_REMOVED = Refusal(SendState.UNCERTAIN, "Postfix removed it from its queue and logged no outcome.")


def hear(connection: sqlite3.Connection, facts: Iterable[Fact], cursor: LogCursor, malformed: int) -> None:
    """Apply `facts` in their order and move the cursor past the lines they came from."""
    told = list(facts)
    rows = _Rows(connection, told)
    for fact in told:
        _apply(rows, fact)
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


def note_master_start(connection: sqlite3.Connection) -> None:
    """Note that lines about what was being submitted when Postfix's master ended may never have been written.

    What Postfix is known to have begun is another matter: its queue tells.
    """
    connection.execute(
        "UPDATE numbers SET value = max(value, (SELECT coalesce(max(changed_ms), 0) FROM sends"
        " WHERE state = 'submitting' AND queue_id IS NULL)) WHERE name = 'log_hole_ms'"
    )


class _Rows:
    """The sends that facts tell of by their queue ids: read once, and again where a fact has changed something."""

    def __init__(self, connection: sqlite3.Connection, facts: Iterable[Fact]) -> None:
        self.connection = connection
        named = {fact.queue_id for fact in facts if not isinstance(fact, (Marker, HasMessageId, MasterStarted))}
        self._queue_ids = list(named)
        self._found = find_in_postfix(connection, self._queue_ids)

    def find(self, queue_id: str) -> SendRow | None:
        return self._found.get(queue_id)

    def read_again(self) -> None:
        """Read all: a send may have gone from one queue id to another."""
        self._found = find_in_postfix(self.connection, self._queue_ids)

    def changed(self, queue_id: str) -> None:
        """Read one that is in another state now."""
        self._found |= find_in_postfix(self.connection, [queue_id])

    def ended(self, queue_id: str, state: SendState) -> None:
        """Pass over what else is told of one, unless the log may still prove something."""
        del self._found[queue_id]
        if state is SendState.UNCERTAIN:
            self.changed(queue_id)


def _apply(rows: _Rows, fact: Fact) -> None:
    match fact:
        case HasMessageId():
            if link(rows.connection, fact.send_id, fact.queue_id):
                rows.read_again()
        case Abandoned():
            if (row := rows.find(fact.queue_id)) is not None:
                unlink(rows.connection, row)
                rows.read_again()
        case Accepted():
            _in_postfix(rows, fact.queue_id, fact.at_ms)
        case Attempt():
            _attempted(rows, fact)
        case GaveUp() | Removed():
            _over(rows, fact)
        case MasterStarted():
            note_master_start(rows.connection)
        case Marker():
            pass


def _in_postfix(rows: _Rows, queue_id: str, at_ms: int) -> SendRow | None:
    """Return the send under this queue id, relayed by now: a line about it in the queue proves acceptance."""
    row = rows.find(queue_id)
    if row is not None and row.state is not SendState.RELAYED and relay(rows.connection, row.send_id, queue_id, at_ms):
        rows.changed(queue_id)
    return rows.find(queue_id)


def _attempted(rows: _Rows, fact: Attempt) -> None:
    row = _in_postfix(rows, fact.queue_id, fact.at_ms)
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
            _end(rows, row, fact, Refusal(SendState.DELIVERED, "", reply))
        case Verdict.BOUNCED:
            _end(rows, row, fact, Refusal(SendState.BOUNCED, "", reply))
        case Verdict.DEFERRED:
            defer(rows.connection, row, reply, fact.at_ms)


def _over(rows: _Rows, fact: GaveUp | Removed) -> None:
    row = _in_postfix(rows, fact.queue_id, fact.at_ms)
    if row is not None:
        _end(rows, row, fact, _GAVE_UP if isinstance(fact, GaveUp) else _REMOVED)


def _end(rows: _Rows, row: SendRow, fact: Attempt | GaveUp | Removed, outcome: Refusal) -> None:
    if end_row(rows.connection, row, outcome, fact.at_ms):
        rows.ended(fact.queue_id, outcome.state)
