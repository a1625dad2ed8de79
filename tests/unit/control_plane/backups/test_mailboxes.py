import datetime as dt
import uuid

from hypothesis import given
from hypothesis import strategies as st

from control_plane.backups.mailboxes import is_due, slot

NOW = dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MINUTE = dt.timedelta(minutes=1)


@given(st.uuids(), st.integers(0, 24 * 60))
def test_a_servers_time_of_day_is_its_own_and_the_last_that_was(vps_id: uuid.UUID, minutes: int) -> None:
    now = NOW + minutes * MINUTE
    last = slot(vps_id, now)
    assert now - DAY < last <= now
    assert slot(vps_id, last) == last
    assert slot(vps_id, last + DAY) == last + DAY


def test_servers_are_spread_over_the_day() -> None:
    hours = {slot(uuid.UUID(int=number), NOW).hour for number in range(500)}
    assert hours == set(range(24))


@given(st.uuids())
def test_a_backup_is_asked_for_once_a_day_and_hourly_until_there_is_one(vps_id: uuid.UUID) -> None:
    last = slot(vps_id, NOW)
    assert is_due(vps_id, None, None, NOW)
    assert is_due(vps_id, last - DAY, last - DAY, last)
    assert not is_due(vps_id, last - DAY, last, last + 59 * MINUTE)
    assert is_due(vps_id, last - DAY, last, last + 60 * MINUTE)
    assert not is_due(vps_id, last + MINUTE, last, last + 2 * MINUTE)
    assert not is_due(vps_id, last + MINUTE, last, last + DAY - MINUTE)
