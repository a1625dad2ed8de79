import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from control_plane.monitoring.rings import Ring

MOMENTS = st.floats(6e8, 4e9).map(lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC))


@given(st.sampled_from(Ring), MOMENTS, st.timedeltas(dt.timedelta(0), dt.timedelta(days=3)), st.floats(0, 1))
def test_a_moment_lies_in_one_of_the_slots_of_its_time(
    ring: Ring, start: dt.datetime, length: dt.timedelta, place: float
) -> None:
    slots = ring.slots(start, start + length)
    assert ring.slot(start + length * place) in slots
    assert {ring.slot(start), ring.slot(start + length)} <= set(slots) <= set(range(ring.length))


def test_a_time_in_one_slot_has_no_other() -> None:
    at = dt.datetime(2026, 11, 22, 8, 20, tzinfo=dt.UTC)
    assert {ring: ring.slots(at - dt.timedelta(minutes=20), at) for ring in Ring} == {
        ring: [ring.slot(at)] for ring in Ring
    }
