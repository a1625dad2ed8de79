"""Decisions of self-healing, alone and over made-up hours in which anything may happen."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control_plane.healing.decide import (
    BUDGET_TIME,
    ActState,
    Begin,
    Condition,
    End,
    Move,
    Past,
    Server,
    Spent,
    advance,
    decide,
)
from control_plane.healing.rules import COMMANDS, ONCE, STANDING, Rule, read_rules

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
VPS = uuid.UUID(int=7)
RULES = read_rules()
RULE = {rule.name: rule for rule in RULES}
RESTART = RULE["mail_server_down"]
QUARANTINE = RULE["still_listed"]
LONG_AGO = NOW - dt.timedelta(hours=5)


def bad(since: dt.datetime = LONG_AGO) -> Condition:
    return Condition(since, since, None, "Postfix does not run.")


def server(*rules: Rule, forbidden: Sequence[str] = (), linked: bool = True) -> Server:
    return Server(VPS, linked, {rule.name: bad() for rule in rules}, frozenset(forbidden))


def past(rule: Rule, state: ActState, ago: float, *, by_operator: bool = False) -> Past:
    at = NOW - ago * SECOND
    return Past(uuid.uuid4(), VPS, rule.name, state, at, None if state is ActState.STANDING else at, by_operator)


def begun(moves: Sequence[Move]) -> list[str]:
    return [move.rule.name for move in moves if isinstance(move, Begin)]


def test_a_daemon_that_stays_dead_is_restarted_three_times_an_hour_and_then_told_of() -> None:
    acts: list[Past] = []
    for minutes in range(0, 6, 2):
        at = NOW + dt.timedelta(minutes=minutes)
        assert begun(decide(RULES, [server(RESTART)], acts, at)) == ["mail_server_down"]
        acts.append(Past(uuid.uuid4(), VPS, RESTART.name, ActState.FAILED, at, at))
    later = NOW + dt.timedelta(minutes=30)
    [spent] = decide(RULES, [server(RESTART)], acts, later)
    assert spent == Spent(VPS, RESTART, "Postfix does not run.")
    assert begun(decide(RULES, [server(RESTART)], acts, NOW + BUDGET_TIME)) == ["mail_server_down"]


def test_a_condition_must_hold_for_its_time_also_since_the_last_act() -> None:
    young = Server(VPS, True, {RESTART.name: bad(NOW - 5 * SECOND)}, frozenset())
    assert decide(RULES, [young], [], NOW) == []
    just_done = past(RESTART, ActState.DONE, 5)
    assert decide(RULES, [server(RESTART)], [just_done], NOW) == []
    assert begun(decide(RULES, [server(RESTART)], [just_done], NOW + 10 * SECOND)) == ["mail_server_down"]


def test_a_mail_server_whose_packages_are_changed_is_left_alone_and_given_the_same_time_after() -> None:
    down = replace(server(RESTART, QUARANTINE), changed_until=NOW)
    assert begun(decide(RULES, [down], [], NOW)) == ["still_listed"]
    alone = replace(server(RESTART), changed_until=NOW)
    assert begun(decide(RULES, [alone], [], NOW + 14 * SECOND)) == []
    assert begun(decide(RULES, [alone], [], NOW + 15 * SECOND)) == ["mail_server_down"]


def test_a_server_without_a_link_is_not_told_but_may_be_quarantined() -> None:
    assert begun(decide(RULES, [server(RESTART, QUARANTINE, linked=False)], [], NOW)) == ["still_listed"]


def test_while_one_act_is_under_way_no_other_begins() -> None:
    asked = past(RULE["disk_full"], ActState.ASKED, 3)
    assert decide(RULES, [server(RESTART, QUARANTINE)], [asked], NOW) == []


def test_what_stands_is_ended_when_it_was_well_or_is_forbidden_and_not_before() -> None:
    standing = past(QUARANTINE, ActState.STANDING, 60)
    assert decide(RULES, [server(QUARANTINE)], [standing], NOW) == []
    assert decide(RULES, [server()], [standing], NOW) == [End(standing.id, "it has been well for long enough")]
    [ended] = decide(RULES, [server(QUARANTINE, forbidden=["still_listed"])], [standing], NOW)
    assert isinstance(ended, End)
    [ended] = decide([], [server(QUARANTINE)], [standing], NOW)
    assert isinstance(ended, End)


def test_what_an_operator_took_back_is_not_done_again_before_it_was_well() -> None:
    taken_back = past(QUARANTINE, ActState.ENDED, 2 * 3600, by_operator=True)
    assert decide(RULES, [server(QUARANTINE)], [taken_back], NOW) == []
    anew = Server(VPS, True, {QUARANTINE.name: bad(NOW - 4000 * SECOND)}, frozenset())
    assert begun(decide(RULES, [anew], [taken_back], NOW)) == ["still_listed"]


def test_handing_on_is_noted_once_however_long_a_server_is_gone() -> None:
    gone = RULE["server_gone"]
    assert begun(decide(RULES, [server(gone, linked=False)], [], NOW)) == ["server_gone"]
    # It happens whatever is forbidden, and so it is noted.
    assert begun(decide(RULES, [server(gone, forbidden=["server_gone"], linked=False)], [], NOW)) == ["server_gone"]
    assert decide(RULES, [server(gone, linked=False)], [past(gone, ActState.DONE, 2 * 3600)], NOW) == []


def test_a_condition_is_over_only_when_it_was_known_to_be_well_for_its_time() -> None:
    def look(
        before: Condition | None, seconds: float, *, is_bad: bool | None, is_well: bool | None
    ) -> Condition | None:
        return advance(before, RESTART, bad=is_bad, well=is_well, reason="r", now=NOW + seconds * SECOND)

    first = look(None, 0, is_bad=True, is_well=False)
    assert first == Condition(NOW, NOW, None, "r")
    well = look(first, 10, is_bad=False, is_well=True)
    assert well == Condition(NOW, None, NOW + 10 * SECOND, "r")
    nobody_can_tell = look(well, 400, is_bad=None, is_well=None)
    assert nobody_can_tell == Condition(NOW, None, None, "r")
    again = look(nobody_can_tell, 410, is_bad=False, is_well=True)
    assert look(again, 709, is_bad=False, is_well=True) is not None
    assert look(again, 710, is_bad=False, is_well=True) is None
    assert look(None, 0, is_bad=None, is_well=None) is None


_LOOK = st.fixed_dictionaries(
    {
        "seconds": st.integers(1, 2000),
        "bad": st.frozensets(st.sampled_from([rule.name for rule in RULES])),
        "unknown": st.frozensets(st.sampled_from([rule.name for rule in RULES]), max_size=3),
        "forbidden": st.frozensets(st.sampled_from([rule.name for rule in RULES]), max_size=4),
        "linked": st.booleans(),
        "ends": st.booleans(),
        "taken_back": st.booleans(),
    }
)


@given(st.lists(_LOOK, min_size=1, max_size=40))
def test_whatever_happens_budgets_hold_and_nothing_forbidden_is_done_nor_two_things_at_once(
    looks: list[dict[str, Any]],
) -> None:
    now, acts, conditions = NOW, list[Past](), dict[str, Condition]()
    for each in looks:
        now += each["seconds"] * SECOND
        bad_ones, unknown, forbidden = each["bad"], each["unknown"], each["forbidden"]
        for rule in RULES:
            told = None if rule.name in unknown else rule.name in bad_ones
            well = None if told is None else not told
            after = advance(conditions.pop(rule.name, None), rule, bad=told, well=well, reason="r", now=now)
            conditions |= {rule.name: after} if after else {}
        if each["ends"]:
            acts = [replace(a, state=ActState.DONE, ended_at=now) if a.state is ActState.ASKED else a for a in acts]
        if each["taken_back"]:
            acts = [
                replace(a, state=ActState.ENDED, ended_at=now, by_operator=True) if a.state is ActState.STANDING else a
                for a in acts
            ]
        under_way = any(act.state is ActState.ASKED for act in acts)
        moves = decide(RULES, [Server(VPS, each["linked"], dict(conditions), forbidden)], acts, now)
        begins = [move for move in moves if isinstance(move, Begin)]
        assert len(begins) <= (0 if under_way else 1)
        ended = {move.act_id for move in moves if isinstance(move, End)}
        acts = [replace(act, state=ActState.ENDED, ended_at=now) if act.id in ended else act for act in acts]
        for begin in begins:
            assert begin.rule.name not in forbidden or begin.rule.act in ONCE
            assert begin.rule.name in bad_ones - unknown
            assert begin.rule.act not in COMMANDS or each["linked"]
            state = ActState.STANDING if begin.rule.act in STANDING else ActState.ASKED
            acts.append(Past(uuid.uuid4(), VPS, begin.rule.name, state, now))
        for rule in RULES:
            within = [act for act in acts if act.rule == rule.name and act.began_at > now - BUDGET_TIME]
            assert len(within) <= rule.budget
            assert sum(act.state is ActState.STANDING for act in acts if act.rule == rule.name) <= 1
