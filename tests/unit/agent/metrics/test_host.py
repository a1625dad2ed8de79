"""Reading /proc."""

from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.host import (
    Processors,
    parse_meminfo,
    parse_network,
    parse_stat,
    read_host,
    read_network,
    read_own_memory,
)

TEXT = "MemTotal:       24684096 kB\nMemAvailable:   23997604 kB\nHugePages_Total:       0\n"


def test_kilobytes_become_bytes_and_counts_are_left_out() -> None:
    assert parse_meminfo(TEXT) == {"MemTotal": 24684096 * 1024, "MemAvailable": 23997604 * 1024}


@given(st.integers(0, len(TEXT)))
def test_cut_text_gives_only_whole_lines(length: int) -> None:
    assert parse_meminfo(TEXT[:length]).items() <= parse_meminfo(TEXT).items()


@given(st.text())
def test_noise_disturbs_nothing(noise: str) -> None:
    assert parse_meminfo(TEXT + "\n" + noise)["MemTotal"] == 24684096 * 1024 or "MemTotal" in noise


def test_the_share_of_processor_time_is_told_from_the_second_sample_on() -> None:
    processors = Processors()
    assert processors.used_percent("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n") is None
    assert processors.used_percent("cpu  150 0 150 900 100 0 0 0 70 0\n") == 100.0 * 100 / 300
    assert processors.used_percent("cpu  150 0 150 900 100 0 0 0 70 0\n") is None


@given(st.text())
def test_a_strange_first_line_tells_no_times(noise: str) -> None:
    assert parse_stat("cpux" + noise) is None
    assert parse_stat("cpu 1 2 3\n" + noise) is None


def test_bytes_over_the_network_are_those_of_all_interfaces_but_loopback() -> None:
    heading = "Inter-| Receive | Transmit\n face |bytes packets|bytes\n"
    numbers = "1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0"
    text = f"{heading}    lo: {numbers}\n  eth0: {numbers}\n  eth1:{numbers}\n  cut: 5"
    assert parse_network(text) == (2000, 4000)


def test_this_host_can_be_sampled() -> None:
    host = read_host(Processors())
    assert host.memory_total_bytes > 0
    assert not host.HasField("cpu_percent")
    assert read_network().received_bytes >= 0
    # What Python and these tests take.
    assert 10 << 20 < read_own_memory() < 10 << 30
