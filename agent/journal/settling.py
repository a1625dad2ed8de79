"""Recovery and housekeeping, as functions on an open transaction.

The rule for forgetting a send, which must never be submitted a second time:

1. What may have been submitted is forgotten only when the control plane has said that the send is closed: its final
   state is committed there, and no lease of it will be given again. That its events are confirmed is not enough. One
   that came under an older lease is recorded and changes nothing there; then the send is leased anew, and again, and an
   envelope with a fresh deadline may come whenever Redis can be reached again.
2. What remains are copies of envelopes from before: entries that were read and not acknowledged, or that a queuer wrote
   late. Their leases ended by the database's clock no later than the last lease that the send was here under, so the
   latest such deadline of all that was forgotten is kept (`forgotten_until_ms`), and of an unknown send only a lease
   that ends later is taken. That compares two deadlines of one clock, and asks no clock of this server.

So the seven days only bound how much is remembered. The server's wall clock decides when to forget, and never whether
that is safe: set ahead, it has closed sends forgotten early, and what waits in the queue under leases as old as theirs
is dropped, comes back when those have run out, and goes then. Set back, it could make a lease look longer; the boot
clock bounds that for what is in hand (`clock`), and rule 2 for what is forgotten. A send that was not closed within
the seven days is told of again, which is answered with whether it is by now.

How long the log has been silent about what Postfix has is judged by the wall clock too, but not across a leap that the
boot clock shows: the time it skipped did not pass. A leap while no agent ran is not seen; then the log, still heard of
what is uncertain, corrects it.

What was never submitted (its lease ran out, or it failed) needs no closing: a new lease starts it again in any case.
"""

import sqlite3
from collections.abc import Iterable

from google.protobuf.message import DecodeError

from agent.journal.errors import JournalCorrupt
from agent.journal.hearing import note_hole
from agent.journal.records import Counts, InPostfix, Malformed, OpenSend, Refusal, Settled
from agent.journal.sends import end, find_send, take_back
from agent.journal.spool import add_event, parse_event, told_again
from agent.journal.states import SendState
from protos.queue.v1.envelope_pb2 import Envelope

#: How long a final send is remembered at least, while the clock is not set. Also how long Postfix is given to log an
#: outcome: longer than any queue life that mailstack sets.
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
SELECT id, lease_deadline_ms FROM sends
WHERE changed_ms < :before AND lease_deadline_ms < :before
  AND (state IN ('lease_expired', 'failed') OR (closed AND state NOT IN ('intent', 'submitting', 'relayed')))
  AND NOT EXISTS (SELECT 1 FROM events WHERE events.send_id = sends.send_id)
ORDER BY changed_ms LIMIT :round
"""
_NOT_CLOSED = """
SELECT id, lease_token, outcome FROM sends
WHERE changed_ms < ? AND NOT closed AND state IN ('delivered', 'bounced', 'expired', 'uncertain')
  AND NOT EXISTS (SELECT 1 FROM events WHERE events.send_id = sends.send_id)
ORDER BY changed_ms LIMIT ?
"""
_SET_ASIDE = """
INSERT INTO malformed (stream, entry_id, at_ms, reason, content) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_SILENT = "SELECT send_id FROM sends WHERE state = 'relayed' AND changed_ms < ? LIMIT ?"
_IN_POSTFIX = """
SELECT id, send_id, queue_id FROM sends WHERE state = 'relayed' AND changed_ms <= ? AND id > ? ORDER BY id LIMIT ?
"""
_LEAP = "UPDATE sends SET changed_ms = changed_ms + ? WHERE state = 'relayed' AND changed_ms <= ?"
_FORGOTTEN_UNTIL = "UPDATE numbers SET value = max(value, ?) WHERE name = 'forgotten_until_ms'"


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


def note_start(connection: sqlite3.Connection, boot_id: str, now_ms: int) -> None:
    """Note what a machine that went down without warning has done to the log.

    Postfix flushes its queue and nobody flushes the log: after a power cut a message may be there, and the lines that
    would say so are not. What was being submitted in another boot then has a hole in its log; an orderly stop leaves
    none by this, since the file systems are flushed after it. That Postfix has ended is heard from its log.
    """
    cut = connection.execute("SELECT 1 FROM sends WHERE state = 'submitting' AND boot_id <> ? LIMIT 1", (boot_id,))
    if cut.fetchone() and not _number(connection, "stopped_in_order"):
        note_hole(connection, now_ms)
    connection.execute("UPDATE numbers SET value = 0 WHERE name = 'stopped_in_order'")


def note_stop(connection: sqlite3.Connection) -> None:
    """Note that the agent was told to stop."""
    connection.execute("UPDATE numbers SET value = 1 WHERE name = 'stopped_in_order'")


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


def in_postfix(connection: sqlite3.Connection, before_ms: int, after: int, limit: int) -> list[InPostfix]:
    """Return relayed sends that were so by `before_ms`, in the order of their rows, from the one after `after` on."""
    return [InPostfix(*row) for row in connection.execute(_IN_POSTFIX, (before_ms, after, limit))]


def forget_old(connection: sqlite3.Connection, now_ms: int) -> int:
    """Forget old final sends, by the rule above, and end those of which the log has been silent too long.

    Returns how many rows changed; 0 when nothing is left to do.
    """
    before = now_ms - REMEMBERED_MS
    silence = Refusal(SendState.UNCERTAIN, "The mail log told no outcome within seven days.")
    silent = connection.execute(_SILENT, (before, _ROUND)).fetchall()
    for (send_id,) in silent:
        end(connection, send_id, silence, now_ms)
    forgettable = connection.execute(_FORGETTABLE, {"before": before, "round": _ROUND}).fetchall()
    if forgettable:
        connection.execute(_FORGOTTEN_UNTIL, (max(deadline for _, deadline in forgettable),))
        connection.executemany("DELETE FROM sends WHERE id = ?", [(row_id,) for row_id, _ in forgettable])
    return len(silent) + len(forgettable) + _ask_about_unclosed(connection, before, now_ms)


def allow_for_leap(connection: sqlite3.Connection, ahead_ms: int, now_ms: int) -> None:
    """Have the log's silence about what Postfix has last no longer for a wall clock that was set ahead by so much."""
    connection.execute(_LEAP, (ahead_ms, now_ms - ahead_ms))


def close(connection: sqlite3.Connection, send_ids: Iterable[bytes]) -> None:
    """Note that the control plane will never lease these again; ids that are not known are ignored."""
    connection.executemany("UPDATE sends SET closed = 1 WHERE send_id = ?", [(send_id,) for send_id in send_ids])


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


def _ask_about_unclosed(connection: sqlite3.Connection, before_ms: int, now_ms: int) -> int:
    """Tell again what became of old sends that were not closed; return how many they were."""
    unclosed = connection.execute(_NOT_CLOSED, (before_ms, _ROUND)).fetchall()
    for row_id, lease_token, outcome in unclosed:
        add_event(connection, told_again(parse_event(outcome), lease_token))
        connection.execute("UPDATE sends SET changed_ms = ? WHERE id = ?", (now_ms, row_id))
    return len(unclosed)


def _number(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()[0]
    return value


def _parse_envelope(content: bytes) -> Envelope:
    try:
        return Envelope.FromString(content)
    except DecodeError as error:
        raise JournalCorrupt("the journal holds an envelope that cannot be read") from error
