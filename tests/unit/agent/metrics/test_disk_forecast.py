"""How long disks last by how they were before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.disk_forecast import SPANS, DiskForecast, seconds_left
from protos.agent.v1.telemetry_pb2 import Disk

MINUTE = 60.0
_STEPS = st.floats(0, 10_000)
_LEFT = st.integers(0, 2**63)


def disk(mount: str = "/", *, free: int = 0, inodes: int = 0, size: int = 100) -> Disk:
    return Disk(mount=mount, total_bytes=size, free_bytes=free, inodes_total=size, inodes_free=inodes)


def lasting(told: Disk) -> tuple[int | None, int | None]:
    space = told.seconds_to_full if told.HasField("seconds_to_full") else None
    inodes = told.seconds_to_no_inodes if told.HasField("seconds_to_no_inodes") else None
    return space, inodes


def test_what_does_not_become_less_comes_to_no_end() -> None:
    assert seconds_left(50, 50, 60) is None
    assert seconds_left(50, 40, 60) is None
    assert seconds_left(50, 100, 0) is None
    assert seconds_left(50, 100, 60) == 60


def test_what_becomes_less_is_believed_to_go_on_four_times_as_long() -> None:
    assert seconds_left(400, 500, 60) == 240
    assert seconds_left(401, 501, 60) is None


def test_of_what_is_used_up_nothing_is_foretold() -> None:
    assert seconds_left(0, 100, 60) is None


def test_each_mount_lasts_by_itself_of_space_and_of_inodes() -> None:
    forecast = DiskForecast()
    forecast.told([disk("/", free=90, inodes=90), disk("/var", free=90, inodes=50)], 0.0)
    root, var = forecast.told([disk("/", free=60, inodes=90), disk("/var", free=89, inodes=25)], 30 * MINUTE)
    assert lasting(root) == (3600, None)
    assert lasting(var) == (None, 1800)


@pytest.mark.parametrize(
    ("free", "lasts"),
    [
        # 30 in half an hour, and 60 are left.
        ({0: 90, 30: 60}, 3600),
        # It filled for half an hour of the last six, and as of the last hour it is full in two.
        ({0: 90, 300: 90, 330: 75, 360: 60}, 7200),
        # What goes fast now is told of by the last minutes.
        ({0: 90, 10: 90, 20: 90, 30: 90, 40: 60}, 20 * 60),
        # Some minutes foretell no day.
        ({0: 90, 5: 89}, None),
        # It was shed.
        ({0: 10, 5: 60}, None),
    ],
)
def test_what_fills_is_told_of_by_the_span_that_foretells_the_soonest_end(
    free: dict[int, int], lasts: int | None
) -> None:
    forecast = DiskForecast()
    seen = [lasting(forecast.told([disk(free=left)], minute * MINUTE)[0])[0] for minute, left in free.items()]
    assert seen[-1] == lasts


def test_a_disk_of_another_size_in_its_place_is_another() -> None:
    forecast = DiskForecast()
    forecast.told([disk(free=90)], 0.0)
    assert lasting(forecast.told([disk(free=10, size=20)], MINUTE)[0]) == (None, None)
    assert lasting(forecast.told([disk(free=10)], 2 * MINUTE)[0]) == (None, None)


@given(st.lists(st.tuples(_STEPS, _LEFT), min_size=1, max_size=60))
def test_whatever_is_told_follows_from_a_moment_that_was_seen(seen: list[tuple[float, int]]) -> None:
    forecast, at, moments = DiskForecast(), 0.0, list[tuple[float, int]]()
    for step, free in seen:
        at += step
        space, inodes = lasting(forecast.told([disk(free=free, size=2**63)], at)[0])
        believed = {seconds_left(free, before, at - then) for then, before in moments if at - then <= max(SPANS)}
        assert space in {None, *(round(each) for each in believed if each is not None)}
        assert inodes is None
        moments.append((at, free))
