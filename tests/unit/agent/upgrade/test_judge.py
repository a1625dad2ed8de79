import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.upgrade.judge import MOST_RESTARTS, MOST_RSS_BYTES, Look, Patience, Sight, Verdict, fault_of, judge

PATIENCE = Patience(link=60, soak=20)
WELL = Sight("active", 0, 50 << 20)


@pytest.mark.parametrize(
    ("sight", "seconds", "confirmed", "verdict", "words"),
    [
        (WELL, 30.0, 20.0, Verdict.GOOD, ""),
        (WELL, 30.0, 19.0, Verdict.WAIT, ""),
        (Sight("activating", 1, 0), 5.0, None, Verdict.WAIT, ""),
        (Sight("activating", MOST_RESTARTS + 1, 0), 9.0, None, Verdict.BAD, "ended 3 times"),
        (Sight("failed", 0, 0), 1.0, None, Verdict.BAD, "ended for good"),
        (Sight("active", 0, MOST_RSS_BYTES + 1), 30.0, 25.0, Verdict.BAD, "grew to 128 MiB"),
        (Sight("active", 0, 50 << 20), 60.5, None, Verdict.BAD, "did not hear of it within 60 s"),
    ],
)
def test_verdicts(sight: Sight, seconds: float, confirmed: float | None, verdict: Verdict, words: str) -> None:
    found, reason = judge(Look(fault_of(sight, seconds)), seconds, confirmed, PATIENCE)
    assert found is verdict
    assert words in reason


def test_nothing_is_good_while_something_of_it_is_on_its_way() -> None:
    assert judge(Look(is_passing=True), 30.0, 20.0, PATIENCE) == (Verdict.WAIT, "")
    assert judge(Look(is_passing=True), 61.0, None, PATIENCE)[0] is Verdict.BAD


@given(
    st.sampled_from(["active", "activating", "deactivating", "failed", "inactive"]),
    st.integers(0, 5),
    st.integers(0, 2 * MOST_RSS_BYTES),
    st.floats(0, 200),
    st.none() | st.floats(0, 200),
)
def test_nothing_is_good_that_was_not_heard_of_and_nothing_waits_for_ever(
    active: str, restarts: int, rss: int, seconds: float, confirmed: float | None
) -> None:
    verdict, reason = judge(Look(fault_of(Sight(active, restarts, rss), seconds)), seconds, confirmed, PATIENCE)
    assert (verdict is Verdict.BAD) == bool(reason)
    if verdict is Verdict.GOOD:
        assert confirmed is not None
    if seconds > PATIENCE.link and (confirmed is None or confirmed >= PATIENCE.soak):
        assert verdict is not Verdict.WAIT
