import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.journal import (
    Arrival,
    BootClock,
    Journal,
    JournalCorrupt,
    JournalError,
    JournalUnavailable,
    Malformed,
    Refusal,
    SendState,
    Settled,
)
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
from agent.journal.schema import connect
from agent.journal.settling import MALFORMED_KEPT, REMEMBERED_MS
from agent.journal.writer import Writer
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from protos.queue.v1.envelope_pb2 import Envelope
from tests.unit.agent.journal.envelopes import leased_again, make_envelope, taken

CURSOR = LogCursor(1, 10, b"tail", "{}")
Kind = DeliveryEvent.Kind


class Now:
    """A wall clock that a test sets, and a boot clock that only time moves."""

    def __init__(self) -> None:
        self.ms = 1_795_000_000_000
        self.boot_ms = 5_000

    def __call__(self) -> int:
        return self.ms

    def boot(self) -> int:
        return self.boot_ms

    def pass_by(self, ms: int) -> None:
        self.ms += ms
        self.boot_ms += ms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def now() -> Now:
    return Now()


@pytest_asyncio.fixture
async def journal(path: Path, now: Now) -> AsyncIterator[Journal]:
    opened = Journal(Writer(connect(path)), now, BootClock("this boot", now.boot))
    yield opened
    opened.close()


async def take(journal: Journal, *envelopes: Envelope) -> list[Arrival]:
    return await journal.take([taken(envelope) for envelope in envelopes])


async def submitting(journal: Journal) -> Envelope:
    envelope = make_envelope()
    await take(journal, envelope)
    assert await journal.begin_submission(envelope.send_id)
    return envelope


async def hear(journal: Journal, *facts: Fact) -> None:
    await journal.hear(facts, CURSOR)


async def told(journal: Journal) -> list[str]:
    return [Kind.Name(event.kind).removeprefix("KIND_") for event in await journal.unconfirmed(100)]


def attempt(queue_id: str, verdict: Verdict) -> Attempt:
    return Attempt(queue_id, 5, verdict, "b@x.test", "mx[192.0.2.1]:25", "2.0.0", "ok", 0.5)


# ---------------------------------------------------------------- opening


def test_the_file_is_for_the_agent_alone(path: Path) -> None:
    connect(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(JournalCorrupt, match="cannot be opened: file is not a database"):
        connect(path)


def test_another_schema_version_is_refused(path: Path) -> None:
    connect(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(JournalCorrupt, match="has schema version 99; this agent knows version 3"):
        connect(path)


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(JournalCorrupt, match="is no journal of this agent"):
        connect(path)


def test_a_journal_that_is_open_elsewhere_is_refused(path: Path) -> None:
    first = connect(path)
    with pytest.raises(JournalCorrupt, match="locked"):
        connect(path)
    first.close()


def test_a_damaged_journal_is_refused(path: Path) -> None:
    connection = connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 2048] = b"\xff" * 2048
    path.write_bytes(content)
    with pytest.raises(JournalCorrupt):
        connect(path)


async def test_an_envelope_that_cannot_be_read_back_is_said(path: Path) -> None:
    journal = Journal.open(path)
    await take(journal, make_envelope())
    journal.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE envelopes SET envelope = x'ffff'")
    other.close()
    journal = Journal.open(path)
    with pytest.raises(JournalCorrupt, match="an envelope that cannot be read"):
        await journal.open_sends()
    journal.close()


# ---------------------------------------------------------------- writing


async def test_what_was_told_is_there_after_reopening(path: Path) -> None:
    journal = Journal.open(path)
    high, low, gone = make_envelope(), make_envelope(), make_envelope()
    await journal.take([taken(low, 2), taken(high, 0), taken(gone, 1)])
    await journal.begin_submission(low.send_id)
    await journal.end(gone.send_id, Refusal(SendState.FAILED, "why"))
    journal.close()
    journal = Journal.open(path)
    found = await journal.open_sends()
    assert [(each.envelope, each.priority, each.state) for each in found] == [
        (high, 0, SendState.INTENT),
        (low, 2, SendState.SUBMITTING),
    ]
    assert await told(journal) == ["FAILED"]
    journal.close()


async def test_operations_asked_for_together_share_a_commit_and_keep_their_order(journal: Journal) -> None:
    envelopes = [make_envelope() for _ in range(50)]
    results = await asyncio.gather(*[take(journal, envelope) for envelope in envelopes * 2])
    assert results == [[Arrival.TAKE]] * 50 + [[Arrival.DROP]] * 50


async def test_an_operation_that_fails_harms_no_other_of_its_group(journal: Journal) -> None:
    def fault(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES ('malformed_envelopes', 1)")

    envelopes = [make_envelope() for _ in range(10)]
    failing = [journal._writer.submit(fault) for _ in range(2)]
    await asyncio.gather(*[take(journal, envelope) for envelope in envelopes])
    assert (await journal.counts()).in_hand == 10
    for future in failing:
        with pytest.raises(JournalUnavailable, match="UNIQUE"):
            await future


async def test_a_full_disk_is_said_and_overcome(path: Path) -> None:
    connection = connect(path)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    journal = Journal(Writer(connection))
    envelope = make_envelope()
    envelope.message = b"x" * 100_000
    with pytest.raises(JournalUnavailable, match="full"):
        await take(journal, envelope)
    await journal._writer.submit(lambda opened: opened.execute("PRAGMA max_page_count = 100000").fetchone())
    assert await take(journal, envelope) == [Arrival.TAKE]
    journal.close()


async def test_a_closed_journal_says_so(path: Path) -> None:
    journal = Journal.open(path)
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.counts()


async def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    journal = Journal.open(path)
    waiting = [asyncio.ensure_future(take(journal, make_envelope())) for _ in range(20)]
    await asyncio.sleep(0)
    journal.close()
    assert await asyncio.gather(*waiting) == [[Arrival.TAKE]] * 20


# ---------------------------------------------------------------- the life of a send


async def test_a_send_from_taken_to_delivered(journal: Journal, now: Now) -> None:
    envelope = await submitting(journal)
    assert await journal.relayed(envelope.send_id, "Q1")
    await hear(journal, attempt("Q1", Verdict.DEFERRED), attempt("Q1", Verdict.SENT), Removed("Q1", 6))
    events = await journal.unconfirmed(100)
    assert await told(journal) == ["RELAYED", "DEFERRED", "DELIVERED"]
    assert {event.queue_id for event in events} == {"Q1"}
    assert {event.lease_token for event in events} == {envelope.lease_token}
    assert len({event.event_id for event in events}) == 3
    assert [event.at_ms for event in events] == [now.ms, 5, 5]
    assert events[2].reply.relay == "mx[192.0.2.1]:25"
    assert events[2].reply.delay_seconds == 0.5


async def test_events_go_when_they_are_confirmed(journal: Journal) -> None:
    envelope = await submitting(journal)
    await journal.relayed(envelope.send_id, "Q1")
    assert journal.events_added.is_set()
    (event,) = await journal.unconfirmed(10)
    assert await journal.unconfirmed(10) == [event]
    await journal.confirm([event.event_id, uuid.uuid4().bytes])
    assert await journal.unconfirmed(10) == []


async def test_a_send_is_submitted_once_at_a_time(journal: Journal) -> None:
    envelope = await submitting(journal)
    assert not await journal.begin_submission(envelope.send_id)
    assert await journal.take_back(envelope.send_id)
    assert not await journal.take_back(envelope.send_id)
    assert await journal.begin_submission(envelope.send_id)


async def test_the_log_may_tell_of_acceptance_before_the_reply(journal: Journal) -> None:
    envelope = await submitting(journal)
    await hear(journal, HasMessageId("Q1", envelope.send_id))
    assert await told(journal) == []
    await hear(journal, Accepted("Q1", 5), attempt("Q1", Verdict.SENT))
    assert not await journal.relayed(envelope.send_id, "Q1")
    assert not await journal.take_back(envelope.send_id)
    assert await told(journal) == ["RELAYED", "DELIVERED"]


async def test_an_outcome_alone_proves_acceptance(journal: Journal) -> None:
    envelope = await submitting(journal)
    await hear(journal, HasMessageId("Q1", envelope.send_id), attempt("Q1", Verdict.BOUNCED))
    assert await told(journal) == ["RELAYED", "BOUNCED"]


@pytest.mark.parametrize(
    ("fact", "kind"), [(GaveUp("Q1", 5), "EXPIRED"), (Removed("Q1", 5), "UNCERTAIN")], ids=["gave up", "removed"]
)
async def test_how_else_postfix_ends_a_send(journal: Journal, fact: Fact, kind: str) -> None:
    envelope = await submitting(journal)
    await journal.relayed(envelope.send_id, "Q1")
    await hear(journal, fact, fact)
    assert (await told(journal))[-1] == kind
    assert (await journal.counts()).in_postfix == 0


async def test_mail_of_others_changes_nothing(journal: Journal) -> None:
    await submitting(journal)
    await hear(
        journal,
        HasMessageId("Q9", uuid.uuid4().bytes),
        Accepted("Q9", 1),
        attempt("Q9", Verdict.SENT),
        GaveUp("Q9", 1),
        Removed("Q9", 1),
        Abandoned("Q9"),
    )
    assert await told(journal) == []


async def test_facts_and_the_place_in_the_log_are_one(journal: Journal) -> None:
    assert await journal.log_cursor() is None
    envelope = await submitting(journal)
    await journal.relayed(envelope.send_id, "Q1")
    await journal.hear([attempt("Q1", Verdict.SENT)], CURSOR, malformed=2)
    assert await journal.log_cursor() == CURSOR
    assert (await journal.counts()).malformed_log_lines == 2


async def test_a_marker_is_announced_once_heard(journal: Journal) -> None:
    seen = journal.expect_marker("abc")
    await hear(journal, Marker("other"))
    assert not seen.is_set()
    await hear(journal, Marker("abc"))
    assert seen.is_set()


# ---------------------------------------------------------------- leases


async def test_a_new_lease_takes_over_what_waits(journal: Journal) -> None:
    envelope = make_envelope()
    again = leased_again(envelope)
    await take(journal, envelope)
    assert await take(journal, again, envelope) == [Arrival.REPLACE, Arrival.DROP]
    (found,) = await journal.open_sends()
    assert found.envelope == again


async def test_a_new_lease_takes_over_what_is_being_submitted(journal: Journal) -> None:
    envelope = await submitting(journal)
    again = leased_again(envelope)
    assert await take(journal, again) == [Arrival.ADOPT]
    await journal.relayed(envelope.send_id, "Q1")
    (event,) = await journal.unconfirmed(10)
    assert event.lease_token == again.lease_token


async def test_a_new_lease_for_what_is_done_repeats_it_with_new_ids(journal: Journal) -> None:
    envelope = await submitting(journal)
    await journal.relayed(envelope.send_id, "Q1")
    await hear(journal, attempt("Q1", Verdict.SENT))
    first = await journal.unconfirmed(10)
    again = leased_again(envelope)
    assert await take(journal, again) == [Arrival.REPEAT]
    repeated = (await journal.unconfirmed(10))[2:]
    assert [event.kind for event in repeated] == [Kind.KIND_RELAYED, Kind.KIND_DELIVERED]
    assert {event.lease_token for event in repeated} == {again.lease_token}
    assert repeated[1].reply == first[1].reply
    assert {event.event_id for event in first}.isdisjoint(event.event_id for event in repeated)


async def test_a_new_lease_starts_what_was_never_submitted(journal: Journal) -> None:
    envelope = make_envelope()
    await take(journal, envelope)
    await journal.end(envelope.send_id, Refusal(SendState.LEASE_EXPIRED, "late"))
    assert await take(journal, envelope, leased_again(envelope)) == [Arrival.DROP, Arrival.TAKE]
    assert await journal.begin_submission(envelope.send_id)


# ---------------------------------------------------------------- settling


async def test_a_send_of_which_the_log_says_nothing_was_not_taken(journal: Journal) -> None:
    envelope = await submitting(journal)
    assert await journal.settle([envelope.send_id]) == [Settled.NOT_TAKEN]
    assert await journal.begin_submission(envelope.send_id)


async def test_a_send_that_postfix_began_is_open_until_the_log_says_more(journal: Journal) -> None:
    envelope = await submitting(journal)
    await hear(journal, HasMessageId("Q1", envelope.send_id))
    assert await journal.settle([envelope.send_id]) == [Settled.OPEN]
    await hear(journal, Accepted("Q1", 5))
    assert await journal.settle([envelope.send_id]) == [Settled.KNOWN]


async def test_a_send_that_was_abandoned_was_not_taken(journal: Journal) -> None:
    envelope = await submitting(journal)
    await hear(journal, HasMessageId("Q1", envelope.send_id), Abandoned("Q1"))
    assert await journal.settle([envelope.send_id]) == [Settled.NOT_TAKEN]


async def test_a_hole_in_the_log_makes_silence_mean_nothing(journal: Journal, now: Now) -> None:
    before = await submitting(journal)
    now.ms += 1
    await journal.note_log_hole()
    now.ms += 1
    after = await submitting(journal)
    assert await journal.settle([before.send_id, after.send_id]) == [Settled.UNKNOWABLE, Settled.NOT_TAKEN]


async def test_the_end_of_a_master_makes_silence_mean_nothing_for_what_was_in_flight(
    journal: Journal, now: Now
) -> None:
    silent, begun = await submitting(journal), await submitting(journal)
    await hear(journal, HasMessageId("Q1", begun.send_id), MasterStarted())
    now.pass_by(1)
    after = await submitting(journal)
    ids = [silent.send_id, begun.send_id, after.send_id]
    assert await journal.settle(ids) == [Settled.UNKNOWABLE, Settled.OPEN, Settled.NOT_TAKEN]


async def test_the_end_of_a_master_changes_nothing_for_what_postfix_refused(journal: Journal) -> None:
    refused = await submitting(journal)
    await hear(journal, MasterStarted())
    assert await journal.take_back(refused.send_id)


async def test_what_is_in_postfix_is_listed_by_age_and_in_pages(journal: Journal, now: Now) -> None:
    early, late = await submitting(journal), await submitting(journal)
    await journal.relayed(early.send_id, "Q1")
    now.pass_by(1000)
    await journal.relayed(late.send_id, "Q2")
    [first] = await journal.in_postfix(1000, 0, 10)
    assert (first.send_id, first.queue_id) == (early.send_id, "Q1")
    assert [each.queue_id for each in await journal.in_postfix(None, 0, 10)] == ["Q1", "Q2"]
    assert [each.queue_id for each in await journal.in_postfix(None, first.row_id, 10)] == ["Q2"]
    assert [each.queue_id for each in await journal.in_postfix(None, 0, 1)] == ["Q1"]
    await hear(journal, attempt("Q1", Verdict.SENT))
    assert await journal.relayed_as([early.send_id, late.send_id]) == {late.send_id: "Q2"}
    assert [each.queue_id for each in await journal.in_postfix(None, 0, 10)] == ["Q2"]


async def test_an_ended_master_is_announced(journal: Journal) -> None:
    assert not journal.master_started.is_set()
    await hear(journal, MasterStarted())
    assert journal.master_started.is_set()


async def test_a_hole_in_the_log_covers_what_began_before_the_clock_was_set_back(journal: Journal, now: Now) -> None:
    before = await submitting(journal)
    now.ms -= 3_600_000
    await journal.note_log_hole()
    assert await journal.settle([before.send_id]) == [Settled.UNKNOWABLE]


@pytest.mark.parametrize(
    ("end", "answer"),
    [
        ("power cut", Settled.UNKNOWABLE),
        ("reboot", Settled.NOT_TAKEN),
        ("crash", Settled.NOT_TAKEN),
    ],
)
async def test_silence_of_a_log_that_a_power_cut_may_have_shortened_means_nothing(
    path: Path, now: Now, end: str, answer: Settled
) -> None:
    journal = Journal(Writer(connect(path)), now, BootClock("this boot", now.boot))
    cut, begun = await submitting(journal), await submitting(journal)
    await hear(journal, HasMessageId("Q1", begun.send_id))
    if end == "reboot":
        await journal.note_stop()
    journal.close()
    now.ms += 10_000
    again = Journal(Writer(connect(path)), now, BootClock("this boot" if end == "crash" else "another", now.boot))
    await again.open_sends()
    assert await again.settle([cut.send_id, begun.send_id]) == [answer, Settled.OPEN]
    await take(again, later := make_envelope())
    now.ms += 1
    assert await again.begin_submission(later.send_id)
    assert await again.settle([later.send_id]) == [Settled.NOT_TAKEN]
    again.close()


async def test_an_orderly_stop_counts_once(journal: Journal, path: Path, now: Now) -> None:
    cut = await submitting(journal)
    await journal.note_stop()
    await journal.open_sends()
    journal.close()
    again = Journal(Writer(connect(path)), now, BootClock("another boot", now.boot))
    await again.open_sends()
    assert await again.settle([cut.send_id]) == [Settled.UNKNOWABLE]
    again.close()


async def test_what_is_uncertain_is_told_when_the_log_says_it_late(journal: Journal) -> None:
    envelope = await submitting(journal)
    await hear(journal, HasMessageId("Q1", envelope.send_id))
    await journal.end(envelope.send_id, Refusal(SendState.UNCERTAIN, "why"))
    assert not await journal.begin_submission(envelope.send_id)
    await hear(journal, Accepted("Q1", 5), attempt("Q1", Verdict.SENT))
    assert await told(journal) == ["UNCERTAIN", "RELAYED", "DELIVERED"]


# ---------------------------------------------------------------- housekeeping


async def delivered(journal: Journal, now: Now) -> Envelope:
    """Take a send whose lease lasts a while from now on, and deliver it."""
    envelope = make_envelope(deadline_ms=now.ms + 300_000)
    await take(journal, envelope)
    await journal.begin_submission(envelope.send_id)
    await journal.relayed(envelope.send_id, f"Q{envelope.send_id.hex()}")
    await hear(journal, attempt(f"Q{envelope.send_id.hex()}", Verdict.SENT))
    return envelope


async def confirm(journal: Journal, *closed: bytes) -> None:
    await journal.confirm([event.event_id for event in await journal.unconfirmed(100)], closed)


async def test_what_was_never_submitted_is_forgotten_once_all_of_it_is_confirmed(journal: Journal, now: Now) -> None:
    envelope = make_envelope(deadline_ms=now.ms)
    await take(journal, envelope)
    await journal.end(envelope.send_id, Refusal(SendState.FAILED, "why"))
    now.ms += REMEMBERED_MS + 1
    assert await journal.forget_old() == 0
    await confirm(journal)
    assert await journal.forget_old() == 1
    assert await take(journal, envelope, leased_again(envelope)) == [Arrival.DROP, Arrival.TAKE]


async def test_what_was_submitted_is_not_forgotten_before_the_control_plane_has_closed_it(
    journal: Journal, now: Now
) -> None:
    envelope = await delivered(journal, now)
    await confirm(journal)
    for _ in range(3):
        now.ms += REMEMBERED_MS + 1
        assert await journal.forget_old() == 1
        assert await told(journal) == ["DELIVERED"]
        await confirm(journal)
    assert await take(journal, leased_again(envelope)) == [Arrival.REPEAT]


async def test_what_is_closed_is_forgotten_when_it_is_old(journal: Journal, now: Now) -> None:
    envelope = await delivered(journal, now)
    await confirm(journal, envelope.send_id)
    now.ms += REMEMBERED_MS
    assert await journal.forget_old() == 0
    now.ms += 300_001
    assert await journal.forget_old() == 1
    assert await journal.forget_old() == 0
    assert await told(journal) == []


async def test_a_copy_of_what_was_forgotten_is_not_taken_whatever_the_clock_was_set_to(
    journal: Journal, now: Now
) -> None:
    envelope = await delivered(journal, now)
    await confirm(journal, envelope.send_id)
    now.ms += 10 * REMEMBERED_MS
    assert await journal.forget_old() == 1
    now.ms -= 10 * REMEMBERED_MS
    assert await take(journal, envelope) == [Arrival.DROP]
    later = make_envelope(deadline_ms=envelope.lease_deadline_ms + 1)
    assert await take(journal, later) == [Arrival.TAKE]


async def test_the_latest_of_all_leases_counts_though_the_database_was_set_back(journal: Journal, now: Now) -> None:
    first = make_envelope(deadline_ms=now.ms + 300_000)
    second = leased_again(first, later_ms=-3_600_000)
    await take(journal, first)
    await journal.end(first.send_id, Refusal(SendState.LEASE_EXPIRED, "late"))
    assert await take(journal, second) == [Arrival.TAKE]
    await journal.end(first.send_id, Refusal(SendState.LEASE_EXPIRED, "late"))
    await confirm(journal)
    now.ms += REMEMBERED_MS + 300_001
    assert await journal.forget_old() == 1
    assert await take(journal, first, second) == [Arrival.DROP, Arrival.DROP]


async def test_a_send_whose_lease_is_in_the_future_is_not_forgotten(journal: Journal, now: Now) -> None:
    envelope = make_envelope(deadline_ms=now.ms + 2 * REMEMBERED_MS)
    await take(journal, envelope)
    await journal.end(envelope.send_id, Refusal(SendState.LEASE_EXPIRED, "late"))
    await confirm(journal)
    now.ms += REMEMBERED_MS + 1
    assert await journal.forget_old() == 0


async def test_a_send_in_hand_is_never_forgotten(journal: Journal, now: Now) -> None:
    envelope = await submitting(journal)
    now.ms += 10 * REMEMBERED_MS
    assert await journal.forget_old() == 0
    assert await take(journal, envelope) == [Arrival.DROP]


async def test_a_send_of_which_the_log_is_silent_for_a_week_is_uncertain(journal: Journal, now: Now) -> None:
    envelope = await submitting(journal)
    await journal.relayed(envelope.send_id, "Q1")
    now.pass_by(REMEMBERED_MS)
    assert await journal.forget_old() == 0
    now.pass_by(1)
    assert await journal.forget_old() == 1
    assert await told(journal) == ["RELAYED", "UNCERTAIN"]


async def test_time_that_the_clock_skipped_is_no_silence_of_the_log(journal: Journal, now: Now) -> None:
    envelope = await submitting(journal)
    await journal.relayed(envelope.send_id, "Q1")
    now.pass_by(1000)
    now.ms += 10 * REMEMBERED_MS
    for _ in range(2):
        assert await journal.forget_old() == 0
    now.pass_by(REMEMBERED_MS - 1000)
    assert await journal.forget_old() == 0
    now.pass_by(1)
    assert await journal.forget_old() == 1
    assert await told(journal) == ["RELAYED", "UNCERTAIN"]


async def test_what_postfix_took_after_the_clock_was_set_ahead_is_waited_for_as_long(
    journal: Journal, now: Now
) -> None:
    now.ms += 10 * REMEMBERED_MS
    envelope = await submitting(journal)
    await journal.relayed(envelope.send_id, "Q1")
    assert await journal.forget_old() == 0
    now.pass_by(REMEMBERED_MS + 1)
    assert await journal.forget_old() == 1


async def test_malformed_entries_are_counted_once_and_kept_in_bounds(journal: Journal, path: Path) -> None:
    for number in range(MALFORMED_KEPT + 10):
        await journal.set_aside(Malformed("stream", f"{number}-0", "why", b"x" * 100_000 if number == 1005 else b"x"))
    await journal.set_aside(Malformed("stream", f"{MALFORMED_KEPT}-0", "why", b"x"))
    assert (await journal.counts()).malformed_envelopes == MALFORMED_KEPT + 10
    journal.close()
    with sqlite3.connect(path) as other:
        kept, longest = other.execute("SELECT count(*), max(length(content)) FROM malformed").fetchone()
    other.close()
    assert (kept, longest) == (MALFORMED_KEPT, 64 * 1024)


async def test_a_lease_is_held_by_the_boot_clock_across_a_restart(path: Path, now: Now) -> None:
    boot = BootClock("this boot", lambda: 5_000)
    envelope = make_envelope()
    journal = Journal(Writer(connect(path)), now, boot)
    await take(journal, envelope)
    now.ms -= 3_600_000
    (found,) = await journal.open_sends()
    remaining = envelope.lease_deadline_ms - (now.ms + 3_600_000)
    assert found.boot_deadline_ms == 5_000 + remaining
    journal.close()
    journal = Journal(Writer(connect(path)), now, BootClock("another boot", lambda: 0))
    (found,) = await journal.open_sends()
    assert found.boot_deadline_ms is None
    await take(journal, leased_again(envelope))
    (found,) = await journal.open_sends()
    assert found.boot_deadline_ms is not None
    journal.close()


@pytest.mark.parametrize("version", [1, 2])
async def test_a_journal_of_an_older_version_is_brought_up_to_date(path: Path, now: Now, version: int) -> None:
    with contextlib.closing(connect(path)) as old:
        old.executescript(
            "ALTER TABLE sends DROP COLUMN lease_number; ALTER TABLE sends DROP COLUMN closed;"
            "DELETE FROM numbers WHERE name IN ('forgotten_until_ms', 'stopped_in_order');"
        )
        if version == 1:
            old.executescript("ALTER TABLE sends DROP COLUMN boot_id; ALTER TABLE sends DROP COLUMN boot_deadline_ms;")
        old.execute(f"PRAGMA user_version = {version}")
        old.executescript(
            "INSERT INTO sends (send_id, state, priority, lease_token, lease_deadline_ms, changed_ms)"
            " VALUES (zeroblob(16), 'intent', 1, zeroblob(16), 5, 1);"
            "INSERT INTO envelopes VALUES (1, x'');"
        )
    journal = Journal(Writer(connect(path)), now)
    (found,) = await journal.open_sends()
    assert found.boot_deadline_ms is None
    assert await take(journal, make_envelope(bytes(16)), make_envelope()) == [Arrival.REPLACE, Arrival.TAKE]
    assert await journal.forget_old() == 0
    journal.close()
