import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.upgrades.delivery_gate import NO_HAND_OVERS, NONE, HandOvers, Outcomes, refuses, worse

PAST = Outcomes(delivered=9_000, deferred=900, bounced=100)
counts = st.integers(0, 100_000).map(float)
outcomes = st.builds(Outcomes, counts, counts, counts)


@pytest.mark.parametrize(
    ("past", "lately", "words"),
    [
        (PAST, Outcomes(900, 90, 10), ""),
        (PAST, Outcomes(800, 190, 10), "19.0% of 1000 attempts were deferred, and 9.0% of 10000 before"),
        (PAST, Outcomes(850, 90, 60), "were bounced"),
        # As bad as ever is not worse.
        (Outcomes(100, 900, 0), Outcomes(100, 900, 0), ""),
        # Too few to tell, now or before.
        (PAST, Outcomes(0, 99, 0), ""),
        (NONE, Outcomes(80, 40, 0), ""),
        (NONE, Outcomes(50, 150, 0), "were deferred"),
    ],
)
def test_worse_than_its_own_past(past: Outcomes, lately: Outcomes, words: str) -> None:
    sentence = worse(past, lately, 100)
    assert bool(sentence) == bool(words)
    assert words in sentence


def test_a_plan_that_asks_for_no_attempts_is_not_ended_by_the_first_one() -> None:
    assert worse(PAST, Outcomes(0, 19, 0), 0) == ""
    assert worse(PAST, Outcomes(0, 20, 0), 0)
    assert worse(Outcomes(19, 0, 0), Outcomes(12, 8, 0), 0) == ""


@pytest.mark.parametrize(
    ("past", "lately", "words"),
    [
        (HandOvers(990, 10), HandOvers(990, 10), ""),
        (HandOvers(990, 10), HandOvers(0, 20), "100.0% of 20 sends were refused before Postfix had them, and 1.0%"),
        (HandOvers(1000, 0), HandOvers(180, 20), "10.0% of 200 sends"),
        (HandOvers(1000, 0), HandOvers(198, 2), ""),
        # As bad as ever is not worse.
        (HandOvers(50, 50), HandOvers(50, 50), ""),
        # Too few to tell, now or before: an agent that did not count has no past.
        (HandOvers(1000, 0), HandOvers(0, 19), ""),
        (NO_HAND_OVERS, HandOvers(80, 20), ""),
        (NO_HAND_OVERS, HandOvers(70, 30), "30.0% of 100 sends"),
    ],
)
def test_refused_more_on_the_way_into_postfix(past: HandOvers, lately: HandOvers, words: str) -> None:
    sentence = refuses(past, lately)
    assert bool(sentence) == bool(words)
    assert words in sentence


@given(outcomes)
def test_nothing_is_worse_than_itself_where_there_is_a_past(same: Outcomes) -> None:
    if same.attempts >= 100:
        assert worse(same, same, 100) == ""


@given(outcomes, outcomes, counts)
def test_more_that_is_delivered_makes_nothing_worse(past: Outcomes, lately: Outcomes, more: float) -> None:
    better = Outcomes(lately.delivered + more, lately.deferred, lately.bounced)
    if lately.attempts >= 100 and not worse(past, lately, 100):
        # The allowance for chance shrinks with more attempts, but never as fast as the share does.
        assert worse(past, better, 100) == ""
