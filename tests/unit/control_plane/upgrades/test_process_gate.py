"""When an agent's process does worse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.upgrades.process_gate import UNKNOWN, Process, ailing

MIB = 1 << 20
PAST = Process(55 * MIB, restarts=1)
_RESTARTS = st.integers(0, 10)


@pytest.mark.parametrize(
    ("past", "lately", "words"),
    [
        (PAST, Process(79 * MIB, 1), ""),
        (PAST, Process(80 * MIB, 1), "its agent takes 80 MiB, and 55 before; 79 would be allowed"),
        (Process(120 * MIB), Process(129 * MIB), "its agent takes 129 MiB, and 120 before; 128 would be allowed"),
        (UNKNOWN, Process(128 * MIB), ""),
        (UNKNOWN, Process(129 * MIB), "its agent takes 129 MiB; 128 would be allowed"),
        (PAST, Process(55 * MIB, 3), ""),
        (PAST, Process(55 * MIB, 4), "its agent ended 3 times"),
        # Another release's restarts are counted from none.
        (Process(55 * MIB, 9), Process(55 * MIB, 2), ""),
        (Process(55 * MIB, 9), Process(55 * MIB, 3), "its agent ended 3 times"),
        (PAST, UNKNOWN, ""),
    ],
)
def test_sentences(past: Process, lately: Process, words: str) -> None:
    assert ailing(past, lately) == words


@given(st.floats(0, 128 * MIB), _RESTARTS)
def test_what_stays_as_it_was_does_not_ail(rss: float, restarts: int) -> None:
    assert not ailing(Process(rss, restarts), Process(rss, restarts if restarts < 3 else 0))


@given(st.floats(0, 500 * MIB), st.floats(0, 500 * MIB), _RESTARTS, _RESTARTS)
def test_more_is_never_better(past: float, rss: float, before: int, restarts: int) -> None:
    if ailing(Process(past, before), Process(rss, restarts)):
        assert ailing(Process(past, before), Process(rss + MIB, restarts))
