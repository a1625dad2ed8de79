from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.local.container import escape_colons, leader_in


def test_the_first_process_is_named_in_a_notification() -> None:
    assert leader_in(b"STATUS=Container running.\nX_NSPAWN_LEADER_PID=4711\n") == 4711


def test_other_notifications_name_none() -> None:
    assert leader_in(b"READY=1\nSTATUS=Container running.") is None


@given(st.binary())
def test_noise_is_not_taken_for_a_process(noise: bytes) -> None:
    assert leader_in(b"X_OTHER=" + noise.replace(b"\n", b"")) is None


def test_a_colon_does_not_end_a_bound_path() -> None:
    assert escape_colons(Path("/a b,c:d\\e")) == "/a b,c\\:d\\\\e"
