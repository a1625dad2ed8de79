"""Reports that wait for the link."""

from agent.metrics.backlog import SPACING_MS, SPAN_MS, Backlog
from protos.agent.v1.telemetry_pb2 import HealthReport

START = 1_800_000_000_000


def away(backlog: Backlog, count: int, every_ms: int, start: int = START) -> None:
    for place in range(count):
        backlog.add_to(HealthReport(at_ms=start + place * every_ms), connected=False)


def back(backlog: Backlog, at_ms: int) -> list[int]:
    report = HealthReport(at_ms=at_ms)
    backlog.add_to(report, connected=True)
    return [each.at_ms for each in report.backlog]


def test_one_a_minute_is_kept_and_sent_on_return() -> None:
    backlog = Backlog()
    away(backlog, 12, 15_000)
    assert back(backlog, START + 180_000) == [START, START + 60_000, START + 120_000]


def test_they_are_sent_until_a_report_finds_the_link_still_up() -> None:
    backlog = Backlog()
    away(backlog, 1, 15_000)
    assert back(backlog, START + 15_000) == [START]
    away(backlog, 1, 15_000, START + 90_000)
    assert back(backlog, START + 105_000) == [START, START + 90_000]
    assert back(backlog, START + 120_000) == []
    assert len(backlog) == 0


def test_no_more_than_the_last_hour_is_kept() -> None:
    backlog = Backlog()
    away(backlog, 6 * 3600 // 15, 15_000)
    end = START + 6 * 3_600_000
    kept = back(backlog, end)
    assert len(kept) == SPAN_MS // SPACING_MS
    assert kept[0] >= end - SPAN_MS


def test_a_clock_that_was_set_does_not_stop_it_and_tells_no_false_age() -> None:
    backlog = Backlog()
    away(backlog, 1, 0, START + SPAN_MS * 5)
    away(backlog, 1, 0, START)
    assert back(backlog, START + 15_000) == [START]


def test_a_report_out_of_measure_is_not_kept() -> None:
    backlog = Backlog()
    backlog.add_to(HealthReport(at_ms=START, agent_version="x" * 40_000), connected=False)
    assert len(backlog) == 0
