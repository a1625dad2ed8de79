"""Values of reports by position and by name."""

import datetime as dt
import math

from hypothesis import given
from hypothesis import strategies as st

from control_plane.monitoring.expressions import Comparison, parse
from control_plane.monitoring.metrics import (
    METRICS,
    POSITION,
    derive,
    derive_destinations,
    gauges_of,
    measure,
)
from control_plane.monitoring.probe import may_be_looked_at
from control_plane.monitoring.rings import Ring
from protos.agent.v1.telemetry_pb2 import (
    Destination,
    HealthReport,
    Host,
    Logins,
    PackageUpdates,
    PostfixQueue,
    Relay,
    SigningTest,
)


def test_positions_of_kept_rows_stay() -> None:
    assert (POSITION["load_1m"], POSITION["in_postfix"], POSITION["delivered.google"]) == (0, 16, 20)
    assert (POSITION["bounced.other"], POSITION["handed_over"], POSITION["hand_over_refused"]) == (34, 35, 36)


def test_what_a_report_does_not_say_has_no_value() -> None:
    assert measure(HealthReport()) == [None] * len(METRICS)


def test_what_no_server_can_mean_has_no_value() -> None:
    report = HealthReport(host=Host(load_1m=math.nan, memory_total_bytes=100, memory_available_bytes=25))
    named = derive(measure(report, -1500))
    assert "load_1m" not in named
    assert (named["memory_used_ratio"], named["clock_offset_seconds"]) == (0.75, -1.5)


def test_what_postfix_refused_of_an_agent_is_counted() -> None:
    named = derive(measure(HealthReport(relay=Relay(handed_over=40, refused=2))))
    assert (named["handed_over"], named["hand_over_refused"]) == (40, 2)


def test_updates_that_wait_can_be_asked_for_once_a_server_tells() -> None:
    told = derive(measure(HealthReport(package_updates=PackageUpdates(waiting=3))))
    assert (told["updates_waiting"], told["security_updates_waiting"]) == (3, 0)
    assert parse("security_updates_waiting > 0") == Comparison("security_updates_waiting", ">", 0.0)


def test_log_ins_and_damaged_messages_can_be_asked_for_once_a_server_tells() -> None:
    assert "queue_corrupt" not in derive(measure(HealthReport(postfix_queue=PostfixQueue(active=1))))
    logins, test = Logins(succeeded=40, failed=3), SigningTest(good=5, failed=1)
    report = HealthReport(postfix_queue=PostfixQueue(corrupt=2), logins=logins, signing_test=test)
    told = derive(measure(report))
    assert (told["logins"], told["login_failures"], told["queue_corrupt"]) == (40, 3, 2)
    assert told["unsigned_domains"] == 1
    assert "login_failures" not in derive(gauges_of(measure(report)))
    assert parse("login_failures > 100") == Comparison("login_failures", ">", 100.0)


def test_what_counts_from_any_beginning_is_no_value_of_a_single_report() -> None:
    report = HealthReport(agent_rss_bytes=7, relay=Relay(handed_over=40, in_hand=3))
    named = derive(gauges_of(measure(report)))
    assert (named["agent_memory_bytes"], named["in_hand"], "handed_over" in named) == (7, 3, False)


def test_a_destination_that_nobody_knows_is_passed_over() -> None:
    assert derive_destinations(measure(HealthReport(destinations=[Destination(provider="?", delivered=1)]))) == {}


def test_rows_from_before_a_metric_have_none_of_it() -> None:
    assert derive([1.0]) == {"load_1m": 1.0, "delivered": 0.0, "deferred": 0.0, "bounced": 0.0}


@given(st.integers(700_000_000, 3_700_000_000))
def test_the_slot_that_is_emptied_is_never_one_that_is_filled_or_was_lately(seconds: int) -> None:
    at = dt.datetime.fromtimestamp(seconds, dt.UTC)
    for ring, kept in ((Ring.REPORTS, 3600), (Ring.SAMPLES, 30 * 86_400), (Ring.HOURS, 729 * 86_400)):
        lately = {ring.slot(at - dt.timedelta(seconds=kept * part / 4)) for part in range(5)}
        assert ring.next_slot(at) not in lately


def test_a_private_address_is_looked_at_only_from_its_own_network() -> None:
    assert may_be_looked_at("127.0.0.1")
    assert may_be_looked_at("203.0.114.1")
    assert not may_be_looked_at("198.18.5.5")
