from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.hetzner.client import RateLimit
from control_plane.providers.hetzner.pace import RESERVE, Bucket

buckets = st.builds(Bucket, per_hour=st.integers(1, 10_000), remaining=st.floats(-200, 10_000))
costs = st.integers(0, 100)


@given(buckets, costs)
def test_a_reservation_is_there_after_the_seconds_that_were_said(bucket: Bucket, cost: int) -> None:
    seconds = bucket.seconds_until(cost)
    later = Bucket(bucket.per_hour, bucket.remaining + seconds * bucket.per_hour / 3600.0)
    assert later.remaining >= cost + RESERVE - 1e-6


@given(buckets, st.floats(-100, 100_000))
def test_it_fills_up_to_the_limit_and_never_shrinks_by_waiting(bucket: Bucket, seconds: float) -> None:
    assert min(bucket.remaining, bucket.per_hour) <= bucket.after(seconds).remaining <= bucket.per_hour


@given(buckets, costs, st.integers(0, 100), st.none() | st.integers(0, 10_000))
def test_what_hetzner_says_is_left_is_never_exceeded(
    bucket: Bucket, cost: int, sent: int, remaining: int | None
) -> None:
    settled = bucket.settled(cost, RateLimit(sent=sent, remaining=remaining))
    assert settled.remaining <= bucket.remaining + max(cost - sent, 0)
    assert remaining is None or settled.remaining <= remaining
