import time
from datetime import UTC, datetime

import pytest

from agent.maillog.stamp import logged_ms


def milliseconds(*fields: int) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]  # year to second


def local(at_ms: int) -> str:
    return time.strftime("%b %e %H:%M:%S", time.localtime(at_ms / 1000))


NOW = milliseconds(2026, 11, 21, 20, 42, 5)


def test_a_fresh_line_was_written_now() -> None:
    assert logged_ms(local(NOW - 1000), NOW) == NOW


def test_an_old_line_has_its_own_time() -> None:
    assert logged_ms(local(NOW - 3_600_000), NOW) == NOW - 3_600_000


def test_a_line_of_last_december_is_of_last_year() -> None:
    january = milliseconds(2027, 1, 2, 0, 0, 0)
    assert logged_ms(local(january - 5 * 86_400_000), january) == january - 5 * 86_400_000


def test_rfc_3339_has_its_own_zone_and_fraction() -> None:
    assert logged_ms("2026-11-21T19:42:05.250+01:00", NOW) == milliseconds(2026, 11, 21, 18, 42, 5) + 250
    assert logged_ms("2026-11-21T18:42:05Z", NOW) == milliseconds(2026, 11, 21, 18, 42, 5)


def test_a_line_from_the_future_was_written_now() -> None:
    assert logged_ms(local(NOW + 60_000), NOW) == NOW
    assert logged_ms("2030-01-01T00:00:00Z", NOW) == NOW


@pytest.mark.parametrize("stamp", ["", "Nov 41 20:42:05", "2026-13-01T00:00:00Z", "yesterday"])
def test_what_is_no_stamp_is_refused(stamp: str) -> None:
    with pytest.raises(ValueError, match=r"does not match|must be in"):
        logged_ms(stamp, NOW)
