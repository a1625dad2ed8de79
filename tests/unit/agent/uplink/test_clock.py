"""Clock skew from one round trip."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from agent.uplink.clock import skew_seconds

ASKED = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


@given(st.floats(-86400, 86400), st.floats(0, 10), st.floats(0, 1))
def test_the_error_is_at_most_half_of_the_round_trip(ahead: float, trip: float, share: float) -> None:
    hub_time = ASKED.timestamp() + trip * share + ahead
    found = skew_seconds(ASKED, ASKED + dt.timedelta(seconds=trip), int(hub_time * 1000))
    assert abs(found - ahead) <= trip / 2 + 0.01
