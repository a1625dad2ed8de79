import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.upgrades.delivery_gate import NONE, Outcomes, worse

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
