"""Recovery and housekeeping, as functions on an open transaction."""

import sqlite3

from google.protobuf.message import DecodeError

from agent.journal.errors import JournalCorrupt
from agent.journal.records import Counts, Malformed, OpenSend, Refusal, Settled
from agent.journal.sends import end, find_send, take_back
from agent.journal.states import SendState
from protos.queue.v1.envelope_pb2 import Envelope

#: How long a final send is remembered, so that a late copy of its envelope is known. Also how long Postfix is given to
#: log an outcome: longer than any queue life that mailstack sets.
REMEMBERED_MS = 7 * 24 * 3600 * 1000
#: Rows changed by one round of housekeeping, so that it does not hold up the sends.
_ROUND = 500
#: Malformed envelopes kept for an operator to look at, and bytes kept of each.
MALFORMED_KEPT = 1000
MALFORMED_BYTES = 64 * 1024

_IN_HAND = """
SELECT sends.state, sends.priority, envelopes.envelope, iif(sends.boot_id = ?, sends.boot_deadline_ms, NULL)
FROM sends JOIN envelopes USING (id)
WHERE sends.state IN ('intent', 'submitting')
ORDER BY sends.priority, sends.id
"""
_FORGETTABLE = """
SELECT id FROM sends
WHERE changed_ms < ? AND state NOT IN ('intent', 'submitting', 'relayed')
  AND NOT EXISTS (SELECT 1 FROM events WHERE events.send_id = sends.send_id)
ORDER BY changed_ms LIMIT ?
"""
_SET_ASIDE = """
INSERT INTO malformed (stream, entry_id, at_ms, reason, content) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_SILENT = "SELECT send_id FROM sends WHERE state = 'relayed' AND changed_ms < ? LIMIT ?"


def open_sends(connection: sqlite3.Connection, boot_id: str) -> list[OpenSend]:
    """Return what was in hand when the journal was last closed, high priority first.

    Raises:
        JournalCorrupt: an envelope cannot be read back.

    """
    rows = connection.execute(_IN_HAND, (boot_id,)).fetchall()
    return [
        OpenSend(_parse_envelope(content), priority, SendState(state), boot_deadline_ms)
        for state, priority, content, boot_deadline_ms in rows
    ]


def settle(connection: sqlite3.Connection, send_id: bytes, now_ms: int) -> Settled:
    """Say what is known of a cut submission.

    To be asked only once the SMTP session is over and the log has been read beyond its end: then a send of which
    Postfix logged nothing was not taken, unless the log has a hole.
    """
    row = find_send(connection, send_id)
    if row is None or row.state is not SendState.SUBMITTING:
        return Settled.KNOWN
    if row.queue_id is not None:
        return Settled.OPEN
    if row.changed_ms <= _number(connection, "log_hole_ms"):
        return Settled.UNKNOWABLE
    take_back(connection, send_id, now_ms)
    return Settled.NOT_TAKEN


def forget_old(connection: sqlite3.Connection, now_ms: int) -> int:
    """Forget old final sends whose events are all confirmed; end those of which the log has been silent too long.

    Returns how many rows changed; 0 when nothing is left to do.
    """
    before = now_ms - REMEMBERED_MS
    silence = Refusal(SendState.UNCERTAIN, "The mail log told no outcome within seven days.")
    silent = connection.execute(_SILENT, (before, _ROUND)).fetchall()
    for (send_id,) in silent:
        end(connection, send_id, silence, now_ms)
    forgettable = connection.execute(_FORGETTABLE, (before, _ROUND)).fetchall()
    connection.executemany("DELETE FROM sends WHERE id = ?", forgettable)
    return len(silent) + len(forgettable)


def set_aside(connection: sqlite3.Connection, malformed: Malformed, at_ms: int) -> None:
    """Keep a stream entry that is no envelope, and count it once however often it comes."""
    row = (malformed.stream, malformed.entry_id, at_ms, malformed.reason, malformed.content[:MALFORMED_BYTES])
    new = connection.execute(_SET_ASIDE, row).rowcount
    connection.execute("UPDATE numbers SET value = value + ? WHERE name = 'malformed_envelopes'", (new,))
    connection.execute("DELETE FROM malformed WHERE seq <= (SELECT max(seq) FROM malformed) - ?", (MALFORMED_KEPT,))


def counts(connection: sqlite3.Connection) -> Counts:
    """Count for the health report."""
    by_state = dict(
        connection.execute(
            "SELECT state, count(*) FROM sends WHERE state IN ('intent', 'submitting', 'relayed') GROUP BY state"
        ).fetchall()
    )
    return Counts(
        in_hand=by_state.get("intent", 0) + by_state.get("submitting", 0),
        in_postfix=by_state.get("relayed", 0),
        spooled_events=connection.execute("SELECT count(*) FROM events").fetchone()[0],
        malformed_envelopes=_number(connection, "malformed_envelopes"),
        malformed_log_lines=_number(connection, "malformed_log_lines"),
    )


def _number(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()[0]
    return value


def _parse_envelope(content: bytes) -> Envelope:
    try:
        return Envelope.FromString(content)
    except DecodeError as error:
        raise JournalCorrupt("the journal holds an envelope that cannot be read") from error
