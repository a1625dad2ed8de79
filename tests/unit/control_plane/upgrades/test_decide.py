"""What is done about a plan: cases, and a fleet in memory that is upgraded whatever its servers do."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.upgrades.check_gate import LASTS, Failing
from control_plane.upgrades.decide import Decision, Plan, ServerFacts, Told, Word, decide
from control_plane.upgrades.delivery_gate import HandOvers, Outcomes
from control_plane.upgrades.process_gate import Process
from control_plane.upgrades.states import PlanState, ServerState

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
OLD, NEW = "1-old", "2-new"
PLAN = Plan(NEW, PlanState.RUNNING, 0, 3, None, soak=60 * SECOND, patience=60 * SECOND, minimum_sends=100)
OVER = {PlanState.DONE, PlanState.ROLLED_BACK}


def server(ring: int = 0, **changes: Any) -> ServerFacts:  # noqa: ANN401 - fields of several types
    facts = ServerFacts(
        vps_id=uuid.uuid4(),
        ring=ring,
        state=ServerState.WAITING,
        since=NOW,
        told_at=None,
        running=OLD,
        reachable=True,
        heard_at=NOW,
    )
    return replace(facts, **changes)


def told(state: str, reason: str = "", seconds: int = 1) -> Told:
    return Told(NEW, state, reason, NOW + seconds * SECOND)


def words(decision: Decision) -> list[Word]:
    return [word for _, word in decision.words]


def test_only_the_ring_is_told() -> None:
    canary, later = server(), server(1)
    decision = decide(PLAN, [canary, later], NOW)
    assert decision.words == ((canary.vps_id, Word.UPGRADE),)
    assert [(move.vps_id, move.state) for move in decision.moves] == [(canary.vps_id, ServerState.ASKED)]


def test_a_server_is_confirmed_once_the_release_itself_is_heard_of() -> None:
    asked = server(state=ServerState.ASKED, told_at=NOW)
    later = NOW + 10 * SECOND
    assert words(decide(PLAN, [replace(asked, told=told("watching"))], later)) == []
    watched = replace(asked, told=told("watching"), running=NEW)
    assert words(decide(PLAN, [watched], later)) == [Word.CONFIRM]
    assert words(decide(PLAN, [replace(watched, reachable=False)], later)) == []


def test_a_server_that_was_not_told_any_more_when_a_gate_failed_still_waits() -> None:
    canary, later = server(state=ServerState.INSTALLED, running=OLD), server(1)
    decision = decide(replace(PLAN, ring=1), [canary, later], NOW)
    assert decision.plan.state is PlanState.ROLLING_BACK
    assert [(move.vps_id, move.state) for move in decision.moves] == [(canary.vps_id, ServerState.FAILED)]
    failed = replace(canary, state=ServerState.FAILED)
    assert decide(decision.plan, [failed, later], NOW + SECOND).plan.state is PlanState.ROLLED_BACK


@pytest.mark.parametrize("state", ["refused", "rolled_back"])
def test_a_canary_that_went_back_stops_the_plan(state: str) -> None:
    asked = server(state=ServerState.ASKED, told_at=NOW, told=told(state, "it ended 3 times"))
    decision = decide(PLAN, [asked, server(1)], NOW + 5 * SECOND)
    assert decision.plan.state is PlanState.ROLLING_BACK
    assert decision.words == ()
    assert decision.moves[0].reason.endswith("it ended 3 times")


def test_what_it_said_of_an_earlier_attempt_is_no_news() -> None:
    asked = server(state=ServerState.ASKED, told_at=NOW, told=told("rolled_back", seconds=-60))
    assert decide(PLAN, [asked], NOW + 5 * SECOND).plan == PLAN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"failing": (Failing("queue", NOW, NOW + LASTS),)}, "queue"),
        ({"failing": (Failing("queue", NOW - LASTS, NOW + LASTS),)}, "queue"),
        ({"refuses": True}, "configuration"),
        ({"past_process": Process(50 << 20), "process": Process(90 << 20)}, "its agent takes 90 MiB"),
        ({"heard_at": NOW - 61 * SECOND, "reachable": False}, "was not heard of"),
        ({"running": OLD}, "failed"),
        ({"past": Outcomes(950, 50, 0), "lately": Outcomes(500, 500, 0)}, "50.0% of 1000 attempts were deferred"),
        ({"past": Outcomes(990, 0, 10), "lately": Outcomes(900, 0, 100)}, "were bounced"),
        (
            {"past_hand_overs": HandOvers(1000), "hand_overs": HandOvers(0, 30)},
            "ring 0 delivers worse: 100.0% of 30 sends were refused before Postfix had them",
        ),
    ],
)
def test_gates(changes: dict[str, Any], words: str) -> None:
    canary = server(state=ServerState.INSTALLED, **{"running": NEW, **changes})
    decision = decide(PLAN, [canary, server(1)], NOW)
    assert decision.plan.state is PlanState.ROLLING_BACK
    assert words in decision.plan.reason


def test_a_ring_is_left_after_enough_sends_or_enough_time() -> None:
    canary, later = server(state=ServerState.INSTALLED, running=NEW), server(1)
    first = decide(PLAN, [canary, later], NOW).plan
    assert (first.ring, first.ring_since) == (0, NOW)
    busy = replace(canary, lately=Outcomes(100, 0, 0))
    assert decide(first, [busy, later], NOW + SECOND).plan.ring == 1
    quiet = replace(canary, heard_at=NOW + 59 * SECOND)
    assert decide(first, [quiet, later], NOW + 59 * SECOND).plan.ring == 0
    assert decide(first, [replace(quiet, heard_at=NOW + 60 * SECOND), later], NOW + 60 * SECOND).plan.ring == 1


def test_a_ring_is_not_left_while_a_check_fails_that_may_be_well_at_the_next_look() -> None:
    canary, later = server(state=ServerState.INSTALLED, running=NEW, lately=Outcomes(100, 0, 0)), server(1)
    begun = replace(canary, failing=(Failing("queue", NOW, NOW + LASTS - SECOND),))
    held = decide(PLAN, [begun, later], NOW)
    assert (held.plan.state, held.plan.ring, held.words) == (PlanState.RUNNING, 0, ())
    # It was watched meanwhile.
    assert held.plan.ring_since == NOW
    assert decide(held.plan, [canary, later], NOW + SECOND).plan.ring == 1
    lasts = replace(begun, failing=(Failing("queue", NOW, NOW + LASTS),))
    assert decide(held.plan, [lasts, later], NOW + SECOND).plan.state is PlanState.ROLLING_BACK


def test_a_server_that_has_just_got_it_while_a_check_fails_is_waited_for() -> None:
    asked = server(state=ServerState.ASKED, running=NEW, told=told("installed"))
    fails = replace(asked, failing=(Failing("mail_server", NOW - LASTS, NOW),))
    quick = replace(PLAN, rings=1, soak=0 * SECOND)
    assert decide(quick, [asked], NOW).plan.state is PlanState.DONE
    held = decide(quick, [fails], NOW)
    assert (held.plan.state, [move.state for move in held.moves]) == (PlanState.RUNNING, [ServerState.INSTALLED])


def test_as_many_servers_of_a_ring_may_be_in_doubt_as_may_fail() -> None:
    plan = replace(PLAN, ring=2, soak=0 * SECOND)
    fine = [server(2, state=ServerState.INSTALLED, running=NEW) for _ in range(99)]
    begun = replace(fine[0], failing=(Failing("queue", NOW, NOW),))
    assert decide(plan, [begun, *fine[1:]], NOW).plan.state is PlanState.DONE
    assert decide(plan, [begun, *fine[1:47]], NOW).plan.state is PlanState.RUNNING


def test_one_dead_server_of_many_does_not_stop_the_last_ring() -> None:
    plan = replace(PLAN, ring=2)
    fine = [server(2, state=ServerState.INSTALLED, running=NEW) for _ in range(99)]
    dead = server(2, state=ServerState.FAILED)
    assert decide(plan, [*fine, dead], NOW).plan.state is PlanState.RUNNING
    assert decide(plan, [*fine[:47], dead], NOW).plan.state is PlanState.ROLLING_BACK


@dataclass
class FakeServer:
    """A server that does what its nature says when it is told something."""

    facts: ServerFacts
    nature: str
    was_confirmed: bool = False

    def tell(self, word: Word, now: dt.datetime) -> None:
        if self.nature == "deaf":
            return
        self.facts = replace(self.facts, told_at=now)
        match word:
            case Word.UPGRADE if self.nature == "refuses":
                self._say("refused", OLD, now)
            case Word.UPGRADE if self.facts.told is None:
                self._say("watching", NEW, now)
            case Word.CONFIRM:
                self.was_confirmed = True
            case Word.ROLL_BACK:
                self._say("rolled_back", OLD, now)

    def live(self, now: dt.datetime) -> None:
        self.facts = replace(self.facts, heard_at=now)
        said = self.facts.told
        if said is not None and said.state == "watching":
            if self.nature == "crashes" or (not self.was_confirmed and now - said.at > 60 * SECOND):
                self._say("rolled_back", OLD, now)
            elif self.was_confirmed:
                self._say("installed", NEW, now)
        if self.nature == "delivers worse" and self.facts.running == NEW:
            self.facts = replace(self.facts, past=Outcomes(1000, 10, 0), lately=Outcomes(100, 900, 0))

    def _say(self, state: str, running: str, now: dt.datetime) -> None:
        self.facts = replace(self.facts, told=Told(NEW, state, "as its nature is", now), running=running)


def live_through(plan: Plan, fleet: Sequence["FakeServer | FakeConfigured"], abort_after: int | None) -> Plan:
    now, reached = NOW, plan.ring
    for tick in range(2000):
        now += 5 * SECOND
        for each in fleet:
            each.live(now)
        if tick == abort_after and plan.state is PlanState.RUNNING:
            plan = replace(plan, state=PlanState.ROLLING_BACK, reason="aborted")
        decision = decide(plan, [each.facts for each in fleet], now)
        by_id = {each.facts.vps_id: each for each in fleet}
        for move in decision.moves:
            moved = by_id[move.vps_id]
            moved.facts = replace(moved.facts, state=move.state, since=now)
        for vps_id, word in decision.words:
            assert word is Word.ROLL_BACK or by_id[vps_id].facts.ring <= decision.plan.ring
            assert (word is Word.ROLL_BACK) == (decision.plan.state is not PlanState.RUNNING) or word is Word.ROLL_BACK
            by_id[vps_id].tell(word, now)
        plan = decision.plan
        assert plan.ring >= reached
        reached = plan.ring
        if plan.state in OVER:
            return plan
    raise AssertionError(f"no end: {plan}")


natures = st.sampled_from(["good", "good", "good", "crashes", "refuses", "deaf", "delivers worse"])


@settings(max_examples=60, deadline=None)
@given(st.lists(natures, min_size=3, max_size=8), st.none() | st.integers(0, 60))
def test_whatever_servers_do_the_plan_ends_and_leaves_them_all_alike(kinds: list[str], abort_after: int | None) -> None:
    rings = [0, 1, *([2] * (len(kinds) - 2))]
    fleet = [FakeServer(server(ring), nature) for ring, nature in zip(rings, kinds, strict=True)]
    plan = live_through(PLAN, fleet, abort_after)
    running = {each.facts.running for each in fleet}
    if plan.state is PlanState.DONE:
        assert running == {NEW}
        assert set(kinds) == {"good"}
    else:
        assert running == {OLD}
        assert plan.reason
    if kinds[0] != "good":
        # What was bad on the canary reached no other.
        assert all(each.facts.state is ServerState.WAITING for each in fleet[1:])


@dataclass
class FakeConfigured:
    """A server that is what it should be as soon as it hears of it, unless its nature is another."""

    facts: ServerFacts
    nature: str
    wanted: str = OLD

    def tell(self, word: Word, now: dt.datetime) -> None:
        assert word is not Word.CONFIRM
        self.wanted = NEW if word is Word.UPGRADE else OLD
        # What it says of what it was before is no answer to this.
        self.facts = replace(self.facts, told_at=now, told=None)

    def live(self, now: dt.datetime) -> None:
        self.facts = replace(self.facts, heard_at=now)
        if self.nature == "refuses" and self.wanted == NEW:
            self.facts = replace(self.facts, told=Told(NEW, "refused", "as its nature is", self.facts.since))
        elif self.nature != "deaf" and self.facts.told_at is not None:
            state = "installed" if self.wanted == NEW else "rolled_back"
            self.facts = replace(self.facts, running=self.wanted, told=Told(NEW, state, "", self.facts.since))
        if self.nature == "delivers worse" and self.facts.running == NEW:
            self.facts = replace(self.facts, past=Outcomes(1000, 10, 0), lately=Outcomes(100, 900, 0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["good", "good", "good", "refuses", "deaf", "delivers worse"]), min_size=3, max_size=8),
    st.none() | st.integers(0, 60),
)
def test_settings_that_servers_do_not_leave_by_themselves_are_taken_from_all(
    kinds: list[str], abort_after: int | None
) -> None:
    rings = [0, 1, *([2] * (len(kinds) - 2))]
    fleet = [FakeConfigured(server(ring), nature) for ring, nature in zip(rings, kinds, strict=True)]
    plan = live_through(replace(PLAN, goes_back_by_itself=False), fleet, abort_after)
    if plan.state is PlanState.DONE:
        assert {each.facts.running for each in fleet} == {NEW}
        assert set(kinds) == {"good"}
    else:
        assert {each.facts.running for each in fleet} == {OLD}
        # The payload's end takes it from those that failed (payloads.py).
        assert all(each.wanted == OLD for each in fleet if each.facts.state is not ServerState.FAILED)
        assert plan.reason
    if kinds[0] != "good":
        assert all(each.facts.state is ServerState.WAITING for each in fleet[1:])
