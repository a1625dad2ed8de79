from control_plane.delivery.states import FINAL, MEANING, SETTLED, TRANSITIONS, Kind, State


def test_every_state_has_a_sentence() -> None:
    assert set(MEANING) == set(State)
    assert all(sentence.endswith(".") for sentence in MEANING.values())


def test_nothing_leaves_a_settled_state() -> None:
    assert not [state for state, _ in TRANSITIONS if state in SETTLED]


def test_what_is_uncertain_may_be_settled_but_never_leased_again() -> None:
    settled = {after for (before, _), after in TRANSITIONS.items() if before is State.UNCERTAIN}
    assert settled <= SETTLED | {State.RELAYED}
    assert {State.UNCERTAIN} == FINAL - SETTLED


def test_every_state_that_is_not_final_can_end() -> None:
    for state in set(State) - FINAL:
        assert {after for (before, _), after in TRANSITIONS.items() if before is state} & FINAL


def test_only_a_lease_that_the_agent_did_not_use_leads_back() -> None:
    assert [(before, kind) for (before, kind), after in TRANSITIONS.items() if after is State.ACCEPTED] == [
        (State.QUEUED, Kind.LEASE_EXPIRED),
        (State.ACCEPTED, Kind.DEFERRED),
        (State.ACCEPTED, Kind.LEASE_EXPIRED),
        (State.DEAD, Kind.LEASE_EXPIRED),
    ]


def test_what_postfix_has_never_becomes_leasable_again() -> None:
    assert (
        not {after for (before, _), after in TRANSITIONS.items() if before is State.RELAYED} - FINAL - {State.RELAYED}
    )


def test_an_event_that_comes_twice_moves_nothing_the_second_time() -> None:
    for (_, kind), after in TRANSITIONS.items():
        assert TRANSITIONS.get((after, kind), after) is after
