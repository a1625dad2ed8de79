"""Which failing checks last."""

import datetime as dt

import pytest

from control_plane.upgrades.check_gate import LASTS, Failing, lasting

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("began", "seen", "lasts"),
    [
        (NOW + SECOND, NOW + SECOND, False),
        (NOW + SECOND, NOW + LASTS, False),
        (NOW + SECOND, NOW + LASTS + SECOND, True),
        # Before its server had the change services may stand still, and what counts is how it is after.
        (NOW - LASTS, NOW + LASTS - SECOND, False),
        (NOW - LASTS, NOW + LASTS, True),
        # Last looked at before.
        (NOW - 2 * LASTS, NOW - SECOND, False),
    ],
)
def test_a_check_lasts_when_it_was_seen_to_fail_for_long_enough_after_the_change(
    began: dt.datetime, seen: dt.datetime, lasts: bool
) -> None:
    assert lasting([Failing("queue", began, seen)], NOW) == (["queue"] if lasts else [])
