"""What systemd is told."""

import socket
from pathlib import Path

import pytest

from agent.systemd import notify, watchdog_period


@pytest.mark.parametrize(("limit", "seconds"), [("60000000", 30.0), ("1000000", 0.5), ("", 30.0), ("soon", 30.0)])
def test_a_sign_of_life_comes_twice_in_the_time_allowed(limit: str, seconds: float) -> None:
    assert watchdog_period(limit) == seconds


@pytest.mark.parametrize("abstract", [True, False])
def test_a_state_reaches_whoever_listens(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}" if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        notify("READY=1")
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_nobody_listening_is_no_fault(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
