"""Counters of what became of attempts."""

from pathlib import Path

from agent.journal.facts import Accepted, Attempt, LogCursor, Verdict
from agent.metrics.deliveries import CountingJournal, Deliveries
from protos.agent.v1.telemetry_pb2 import Destination

CURSOR = LogCursor(inode=1, offset=2, tail=b"", memory="")


def attempt(verdict: Verdict, relay: str = "aspmx.l.google.com[192.0.2.1]:25") -> Attempt:
    return Attempt("4Y2kRz6QZ1z9vKq", 1, verdict, "a@shop.example", relay, "2.0.0", "OK", 1.0)


async def test_what_the_journal_hears_is_counted_by_provider(tmp_path: Path) -> None:
    journal = CountingJournal.open(tmp_path / "journal.sqlite3")
    journal.deliveries = deliveries = Deliveries()
    facts = [attempt(verdict) for verdict in (Verdict.SENT, Verdict.SENT, Verdict.DEFERRED, Verdict.BOUNCED)]
    await journal.hear([*facts, Accepted("4Y2kRz6QZ1z9vKq", 1), attempt(Verdict.SENT, "local")], CURSOR)
    await journal.hear([attempt(Verdict.DEFERRED, "mx.example[192.0.2.2]:25")], CURSOR)
    journal.close()
    assert deliveries.result() == [
        Destination(provider="google", delivered=2, deferred=1, bounced=1),
        Destination(provider="other", deferred=1),
    ]


def test_nothing_tried_is_nothing_told() -> None:
    assert Deliveries().result() == []
