"""Reading /proc/meminfo."""

from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.host import parse_meminfo

TEXT = "MemTotal:       24684096 kB\nMemAvailable:   23997604 kB\nHugePages_Total:       0\n"


def test_kilobytes_become_bytes_and_counts_are_left_out() -> None:
    assert parse_meminfo(TEXT) == {"MemTotal": 24684096 * 1024, "MemAvailable": 23997604 * 1024}


@given(st.integers(0, len(TEXT)))
def test_cut_text_gives_only_whole_lines(length: int) -> None:
    assert parse_meminfo(TEXT[:length]).items() <= parse_meminfo(TEXT).items()


@given(st.text())
def test_noise_disturbs_nothing(noise: str) -> None:
    assert parse_meminfo(TEXT + "\n" + noise)["MemTotal"] == 24684096 * 1024 or "MemTotal" in noise
