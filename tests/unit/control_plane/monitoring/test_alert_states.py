"""The life of an alert."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.monitoring.alert_rules import Rule, read_rules
from control_plane.monitoring.alert_states import CHANGE_LASTS, AlertState, Standing, advance
from control_plane.monitoring.states import Check, Finding, InstallationCheck, State

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
RULES = [
    Rule("unreachable", Check.REACHABLE, frozenset({State.FAIL}), 30, 60, "critical", frozenset({"disk"})),
    Rule("disk", Check.DISK, frozenset({State.WARN, State.FAIL}), 300, 600, "warning", frozenset()),
]


def look(
    standing: dict[str, Standing], seconds: float, *, reachable: State = State.OK, disk: State = State.OK
) -> dict[str, Standing]:
    """Advance by one look and return what is not forgotten."""
    findings = [Finding(Check.REACHABLE, reachable, "Reach."), Finding(Check.DISK, disk, "Disk.")]
    after = advance(RULES, findings, standing, NOW + dt.timedelta(seconds=seconds))
    merged = {**standing, **after}
    return {name: each for name, each in merged.items() if each is not None and each.state is not AlertState.RESOLVED}


def test_what_lasts_is_opened_and_what_does_not_is_forgotten() -> None:
    pending = look({}, 0, disk=State.WARN)
    assert pending["disk"].state is AlertState.PENDING
    assert look(pending, 100) == {}
    still = look(pending, 299, disk=State.FAIL)
    assert still["disk"].state is AlertState.PENDING
    opened = look(still, 300, disk=State.WARN)
    assert (opened["disk"].state, opened["disk"].opened_at) == (AlertState.OPEN, NOW + dt.timedelta(seconds=300))
    assert opened["disk"].since == NOW


def test_what_wavers_stays_open_until_it_is_well_for_long_enough() -> None:
    opened = look(look({}, 0, disk=State.WARN), 300, disk=State.WARN)
    wavering = look(look(opened, 600), 1100, disk=State.WARN)
    assert wavering["disk"].state is AlertState.OPEN
    well = look(wavering, 1200)
    assert look(well, 1799)["disk"].state is AlertState.OPEN
    assert look(well, 1800) == {}


def test_one_cause_is_one_alert() -> None:
    dead = look({}, 0, reachable=State.FAIL, disk=State.FAIL)
    assert set(dead) == {"unreachable"}
    before = look(look({}, 0, disk=State.FAIL), 300, disk=State.FAIL)
    hidden = look(before, 2000, reachable=State.FAIL)
    assert hidden["disk"] == before["disk"]


DOWN = Rule("mail_server", Check.MAIL_SERVER, frozenset({State.FAIL}), 2, 0, "critical", frozenset())


def opens_after(changed_until: Callable[[float], float | None], rule: Rule = DOWN) -> float:
    """Return when something that is bad from 0 on is told of, by until when packages were changed as is known then."""
    standing: dict[str, Standing] = {}
    for second in range(600):
        until = changed_until(second)
        changed = None if until is None else NOW + dt.timedelta(seconds=until)
        now = NOW + dt.timedelta(seconds=second)
        alert = advance([rule], [Finding(rule.check, State.FAIL, "Bad.")], standing, now, changed)[rule.name]
        assert alert is not None
        if alert.state is AlertState.OPEN:
            return second
        standing[rule.name] = alert
    raise AssertionError("it is never told of")


def test_a_mail_server_that_stands_still_while_its_packages_are_changed_is_told_of_once_that_is_over() -> None:
    assert opens_after(lambda _: None) == 2
    assert opens_after(lambda now: min(now, 40)) == 42
    # Of a change before it stood still.
    assert opens_after(lambda _: -10) == 2


def test_a_change_without_end_hides_nothing_for_long() -> None:
    assert opens_after(lambda now: now) == CHANGE_LASTS.total_seconds() + 2
    assert opens_after(lambda now: now, replace(DOWN, for_seconds=30)) == CHANGE_LASTS.total_seconds() + 30


def test_a_change_of_packages_excuses_nothing_else() -> None:
    assert opens_after(lambda now: now, replace(DOWN, check=Check.DISK)) == 2


def test_alerts_of_a_rule_that_is_gone_are_over() -> None:
    standing = {"old": Standing("old", "warning", AlertState.OPEN, "Old.", NOW, NOW)}
    resolved = advance(RULES, [], standing, NOW)["old"]
    assert resolved is not None
    assert resolved.state is AlertState.RESOLVED


@given(st.lists(st.tuples(st.sampled_from(State), st.sampled_from(State), st.integers(0, 900)), max_size=12))
def test_no_alert_opens_before_its_time(looks: list[tuple[State, State, int]]) -> None:
    standing: dict[str, Standing] = {}
    seconds = 0
    for reachable, disk, pause in looks:
        seconds += pause
        standing = look(standing, seconds, reachable=reachable, disk=disk)
        for rule in RULES:
            alert = standing.get(rule.name)
            if alert is not None and alert.opened_at is not None:
                assert (alert.opened_at - alert.since).total_seconds() >= rule.for_seconds


def test_the_rules_that_are_shipped_can_be_read_and_watch_every_check() -> None:
    assert {rule.check for rule in read_rules()} == {*Check, *InstallationCheck}


@pytest.mark.parametrize(
    "changes",
    [
        {"severity": "loud"},
        {"check": "mood"},
        {"states": ["ok"]},
        {"hides": ["what"]},
        {"for_seconds": -1},
        {"name": 5},
    ],
)
def test_rules_of_no_sense_are_refused(changes: dict[str, object], tmp_path: Path) -> None:
    good = {"name": "a", "check": "disk", "states": ["fail"], "for_seconds": 0, "well_seconds": 0}
    rules = [{**good, "severity": "notice", "hides": []}, {**good, "severity": "notice", "hides": [], **changes}]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules if changes != {"name": 5} else [rules[0], rules[0]]))
    with pytest.raises(ValueError, match=r"\w"):
        read_rules(file)
