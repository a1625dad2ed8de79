"""Waiting grows, is jittered, and is forgotten after a connection that held."""

from hypothesis import given
from hypothesis import strategies as st

from agent.uplink.backoff import FIRST_CEILING, LAST_CEILING, Backoff, ceiling

shares = st.floats(0, 1)


@given(st.integers(1, 10_000))
def test_the_ceiling_stays_between_one_second_and_a_minute_and_never_falls(failures: int) -> None:
    assert FIRST_CEILING <= ceiling(failures) <= ceiling(failures + 1) <= LAST_CEILING


@given(shares, st.integers(1, 20))
def test_a_wait_is_a_share_of_its_ceiling(share: float, failures: int) -> None:
    backoff = Backoff(lambda: share)
    waits = [backoff.failed() for _ in range(failures)]
    assert waits == [share * ceiling(number) for number in range(1, failures + 1)]


def test_a_minute_is_reached() -> None:
    assert [ceiling(number) for number in (1, 2, 3, 6, 7, 8)] == [1, 2, 4, 32, 60, 60]


def test_only_a_connection_that_held_forgets_failures() -> None:
    backoff = Backoff(lambda: 1.0, failures=5)
    backoff.held(1.0)
    assert backoff.failures == 5
    backoff.held(LAST_CEILING)
    assert backoff.failures == 0


def test_a_large_fleet_comes_back_over_as_long_as_its_hub_says_within_a_minute() -> None:
    backoff = Backoff(lambda: 1.0, spread=25.0)
    assert [backoff.failed() for _ in range(7)] == [25, 25, 25, 25, 25, 32, 60]
    backoff.spread = 1e9
    assert backoff.failed() == LAST_CEILING
