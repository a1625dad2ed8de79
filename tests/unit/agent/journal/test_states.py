import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.journal.states import FINAL, IN_HAND, TRANSITIONS, Arrival, Known, Lease, SendState, on_arrival

OLD, NEW = b"o" * 16, b"n" * 16
#: Whatever the database's clock showed.
deadlines = st.integers(1, 3000)


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(SendState)
    reached = {SendState.INTENT}.union(*TRANSITIONS.values())
    assert reached == set(SendState)


def test_what_was_delivered_bounced_or_expired_stays_so() -> None:
    assert [state for state in SendState if not TRANSITIONS[state]] == [
        SendState.DELIVERED,
        SendState.BOUNCED,
        SendState.EXPIRED,
    ]


def test_nothing_that_postfix_may_have_is_taken_in_hand_again_but_by_settling() -> None:
    sources = {state for state in SendState if SendState.INTENT in TRANSITIONS[state]}
    assert sources == {SendState.SUBMITTING, SendState.LEASE_EXPIRED, SendState.FAILED}


@pytest.mark.parametrize(
    ("state", "arrival"),
    [
        (SendState.INTENT, Arrival.REPLACE),
        (SendState.SUBMITTING, Arrival.ADOPT),
        (SendState.RELAYED, Arrival.REPEAT),
        (SendState.DELIVERED, Arrival.REPEAT),
        (SendState.BOUNCED, Arrival.REPEAT),
        (SendState.EXPIRED, Arrival.REPEAT),
        (SendState.UNCERTAIN, Arrival.REPEAT),
        (SendState.LEASE_EXPIRED, Arrival.TAKE),
        (SendState.FAILED, Arrival.TAKE),
    ],
)
def test_a_newer_lease(state: SendState, arrival: Arrival) -> None:
    assert on_arrival(Known(state, OLD, 1), Lease(NEW, 2, 1000), 0) is arrival


@given(st.sampled_from(SendState), deadlines, deadlines)
def test_which_lease_is_newer_is_no_matter_of_clocks(state: SendState, deadline: int, forgotten: int) -> None:
    newer = on_arrival(Known(state, OLD, 4), Lease(NEW, 5, 2000), 0)
    assert newer is not Arrival.DROP
    assert on_arrival(Known(state, OLD, 4), Lease(NEW, 5, deadline), forgotten) is newer


@given(st.integers(1, 9), deadlines, deadlines)
def test_an_unknown_send_is_taken_when_its_lease_ends_after_all_that_were_forgotten(
    number: int, deadline: int, forgotten: int
) -> None:
    taken = on_arrival(None, Lease(NEW, number, deadline), forgotten) is Arrival.TAKE
    assert taken == (deadline > forgotten)


@given(st.sampled_from(SendState), st.integers(1, 4), deadlines)
def test_what_has_come_before_or_under_an_older_lease_is_dropped(state: SendState, number: int, deadline: int) -> None:
    assert on_arrival(Known(state, OLD, 1), Lease(OLD, 1, deadline), 0) is Arrival.DROP
    assert on_arrival(Known(state, OLD, 4), Lease(NEW, number, deadline), 0) is Arrival.DROP


@given(st.sampled_from(SendState))
def test_only_what_was_never_submitted_is_taken_again(state: SendState) -> None:
    taken_again = on_arrival(Known(state, OLD, 1), Lease(NEW, 2, 1000), 0) is Arrival.TAKE
    assert taken_again == (state in FINAL and SendState.INTENT in TRANSITIONS[state])
    assert not (taken_again and state in IN_HAND)
