"""Agents over days, looked at every five minutes under the rule that is shipped."""

import datetime as dt
from collections.abc import Callable
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.monitoring.agent_memory import HOURS, leak
from control_plane.monitoring.alert_rules import read_rules
from control_plane.monitoring.alert_states import AlertState, Standing, advance
from control_plane.monitoring.checks import Facts, check_agent_memory
from protos.agent.v1.telemetry_pb2 import HealthReport

START = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
MIB = 1 << 20
[RULE] = [rule for rule in read_rules() if rule.name == "agent_memory"]

#: What an agent takes, in MiB, so many hours after it started.
Takes = Callable[[float], float]


def starting(hours: float) -> float:
    """Grow as a healthy agent does: at once, and by what it first has to do."""
    return 35 + 20 * min(hours / 1.5, 1)


def leaking(hours: float) -> float:
    return starting(hours) + 1.5 * hours


def restarted_after_twenty(hours: float) -> float:
    return leaking(hours) if hours < 20 else starting(hours - 20)


def too_large(hours: float) -> float:
    return starting(hours) if hours < 4 else 150


def around_the_bound(hours: float) -> float:
    return starting(hours) if hours < 4 else 128 + 4 * (int(hours) % 2 * 2 - 1)


def burst(hours: float) -> float:
    return 150 if 5 <= hours < 5.4 else starting(hours)


def busier_by_day(hours: float) -> float:
    """Grow for some hours with what there is to do, and keep that."""
    return starting(hours) + 3 * min(max(hours - 8, 0), 4)


def stretches(takes: Takes, days: int = 3) -> list[tuple[float, float | None]]:
    """Return from which hour to which there was an alert."""
    standing: Standing | None = None
    found: list[tuple[float, float | None]] = []
    steps = [takes(place / 12) * MIB for place in range(days * 24 * 12)]
    for place, rss in enumerate(steps):
        now, hour = START + place * dt.timedelta(minutes=5), place // 12
        means = tuple(mean(steps[12 * each : 12 * each + 12]) for each in range(max(hour - HOURS - 1, 0), hour))
        facts = Facts(now=now, last_seen_at=now, report=HealthReport(agent_rss_bytes=int(rss)), agent_memory=means)
        kept = {} if standing is None else {RULE.name: standing}
        before, standing = standing, advance([RULE], [check_agent_memory(facts)], kept, now).get(RULE.name)
        if standing is not None and standing.state is AlertState.OPEN and standing.opened_at == now:
            found.append((place / 12, None))
        if standing is not None and standing.state is AlertState.RESOLVED:
            assert before is not None
            found[-1] = (found[-1][0], place / 12)
            standing = None
    return found


@pytest.mark.parametrize("takes", [starting, burst, busier_by_day])
def test_a_healthy_agent_is_never_told_of(takes: Takes) -> None:
    assert stretches(takes) == []


def test_a_slow_leak_is_told_of_long_before_it_is_too_much() -> None:
    assert stretches(leaking) == [(7.5, None)]
    assert leaking(7.5) < 70


def test_an_agent_that_was_started_again_is_well_after_two_hours() -> None:
    assert stretches(restarted_after_twenty) == [(7.5, 23.0)]


def test_what_is_too_much_is_told_of_once_it_lasts() -> None:
    assert stretches(too_large) == [(4.5, None)]


def test_what_wavers_around_the_bound_is_one_alert() -> None:
    assert stretches(around_the_bound) == [(5.5, None)]


@given(st.lists(st.floats(20 * MIB, 120 * MIB), max_size=HOURS))
def test_fewer_hours_tell_nothing(hours: list[float]) -> None:
    assert not leak(60 * MIB, hours)


@given(st.lists(st.floats(20 * MIB, 120 * MIB), min_size=HOURS + 1, max_size=12), st.integers(1, HOURS))
def test_one_hour_without_growth_is_no_leak(hours: list[float], place: int) -> None:
    hours[-place] = hours[-place - 1]
    assert not leak(60 * MIB, hours)
