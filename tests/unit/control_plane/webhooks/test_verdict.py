from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.webhooks.attempt import Answer
from control_plane.webhooks.verdict import FAILING_FOR, TRIED_FOR, Verdict, back_off, judge

NEVER = timedelta(0)
DICE = st.floats(0, 1)
FAILURES = st.one_of(
    st.builds(Answer, st.none(), st.just("no answer")),
    st.builds(Answer, st.sampled_from([301, 302, 307, 400, 401, 404, 429, 500, 503])),
)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert judge(Answer(status), 1, NEVER, NEVER, 0.5) == Verdict(delivered=True)


@given(FAILURES, st.integers(1, 1000), st.timedeltas(NEVER, TRIED_FOR - timedelta(seconds=1)), DICE)
def test_a_failure_is_tried_again_within_the_three_days(
    answer: Answer, attempts: int, waited: timedelta, dice: float
) -> None:
    verdict = judge(answer, attempts, waited, NEVER, dice)
    assert verdict.after is not None
    assert verdict.after > NEVER
    assert waited + verdict.after <= TRIED_FOR + timedelta(seconds=1)


@given(FAILURES, st.integers(1, 1000), st.timedeltas(TRIED_FOR, TRIED_FOR * 10), DICE)
def test_after_three_days_it_is_dead(answer: Answer, attempts: int, waited: timedelta, dice: float) -> None:
    assert judge(answer, attempts, waited, NEVER, dice) == Verdict()


def test_410_and_five_days_of_failures_disable_the_endpoint() -> None:
    assert judge(Answer(410), 1, NEVER, NEVER, 0.5).disable
    assert judge(Answer(500), 1, NEVER, FAILING_FOR, 0.5).disable
    assert not judge(Answer(500), 1, NEVER, FAILING_FOR - timedelta(seconds=1), 0.5).disable


def test_retry_after_is_respected_and_shortens_nothing() -> None:
    later = judge(Answer(429, retry_after=timedelta(hours=1)), 1, NEVER, NEVER, 0.5)
    sooner = judge(Answer(503, retry_after=timedelta(seconds=1)), 5, NEVER, NEVER, 0.5)
    assert later.after == timedelta(hours=1)
    assert sooner.after == back_off(5, 0.5)


@given(st.integers(1, 50), DICE)
def test_waits_grow_and_stay_within_their_bounds(attempts: int, dice: float) -> None:
    assert back_off(attempts, 0) <= back_off(attempts, dice) <= back_off(attempts, 1)
    assert back_off(attempts, dice) <= back_off(attempts + 1, dice)
    assert timedelta(seconds=3) < back_off(attempts, dice) < timedelta(hours=8)
