from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.clock_offset import ClockOffset

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
delays = st.integers(0, 3_600_000)


def at_ms(moment: datetime, offset_ms: int) -> int:
    return round(moment.timestamp() * 1000) + offset_ms


def measured(clock: ClockOffset, second: int, offset_ms: int, delay_ms: int = 0) -> int | None:
    """Measure a report that a server whose clock is off wrote at this second, and that was under way so long."""
    written = START + timedelta(seconds=second)
    return clock.measure(at_ms(written, offset_ms), written + timedelta(milliseconds=delay_ms))


def test_one_report_alone_tells_nothing() -> None:
    assert measured(ClockOffset(), 0, 5_000) is None


@given(st.integers(-(10**9), 10**9), st.lists(delays, min_size=1, max_size=3), st.integers(0, 3))
def test_one_prompt_report_among_the_last_few_is_enough(offset_ms: int, late: list[int], place: int) -> None:
    clock = ClockOffset()
    all_delays = [*late[:place], 0, *late[place:]]
    assert [measured(clock, 15 * n, offset_ms, delay) for n, delay in enumerate(all_delays)][-1] == offset_ms


@given(st.integers(-(10**9), 10**9), st.lists(delays, min_size=2, max_size=20))
def test_a_delay_never_makes_a_clock_seem_ahead_of_what_it_is(offset_ms: int, late: list[int]) -> None:
    clock = ClockOffset()
    for n, delay in enumerate(late):
        result = measured(clock, 15 * n, offset_ms, delay)
        assert result is None or result <= offset_ms


def test_a_jump_ahead_is_seen_at_once_and_a_jump_back_within_a_minute() -> None:
    clock = ClockOffset()
    ahead = [measured(clock, 15 * n, 0 if n < 2 else 60_000) for n in range(3)]
    assert ahead[1:] == [0, 60_000]
    back = [measured(clock, 45 + 15 * n, -60_000) for n in range(4)]
    assert back[-1] == -60_000


def test_a_clock_beyond_all_measure_can_be_kept() -> None:
    clock = ClockOffset()
    clock.measure(2**62, START)
    assert clock.measure(2**62, START) == 2**53
