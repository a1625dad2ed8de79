"""The agent's composition: what systemd is told, and an orderly stop."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from agent.__main__ import run
from agent.settings import Settings
from agent.supervisor import StopForGood
from agent.uplink.reasons import EXIT_BANNED
from tests.fakes.hub import FakeAuthority, FakeHub


class Systemd(asyncio.DatagramProtocol):
    """The notification socket's other end."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._changed = asyncio.Event()

    def datagram_received(self, data: bytes, _: object) -> None:
        self.told.append(data.decode())
        self._changed.set()

    async def until_told(self, beginning: str) -> None:
        async with asyncio.timeout(20):
            while not any(message.startswith(beginning) for message in self.told):
                self._changed.clear()
                await self._changed.wait()


@pytest_asyncio.fixture
async def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Systemd]:
    path = tmp_path / "notify"
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Systemd, local_addr=str(path), family=socket.AF_UNIX
    )
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    yield protocol
    transport.close()


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    fake = FakeHub(FakeAuthority())
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def settings(hub: FakeHub, tmp_path: Path) -> Settings:
    config, state = tmp_path / "etc", tmp_path / "var"
    config.mkdir()
    state.mkdir()
    (config / "ca.pem").write_bytes(hub.authority.pem)
    (config / "agent.json").write_text(json.dumps({"enrol_endpoint": hub.enrol_endpoint, "join_token": "join-once"}))
    return Settings(config, state, tmp_path / "configure.sock", tmp_path / "mail.log")


async def test_systemd_is_told_and_sigterm_ends_all_in_order(
    hub: FakeHub, settings: Settings, systemd: Systemd
) -> None:
    running = asyncio.create_task(run(settings, "1.2.3"))
    await hub.until(lambda: bool(hub.of_kind("health")))
    for beginning in ("READY=1", "WATCHDOG=1", "STATUS=link up"):
        await systemd.until_told(beginning)
    report = hub.of_kind("health")[0].health
    assert report.agent_version == "1.2.3"
    assert report.host.memory_total_bytes > report.host.memory_available_bytes > 0
    assert report.disks[0].mount == "/"
    assert report.HasField("relay")
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    await systemd.until_told("STOPPING=1")


async def test_a_server_whose_control_plane_is_away_is_ready(
    hub: FakeHub, settings: Settings, systemd: Systemd
) -> None:
    await hub.stop()
    running = asyncio.create_task(run(settings, "1.2.3"))
    await systemd.until_told("READY=1")
    os.kill(os.getpid(), signal.SIGTERM)
    await running


async def test_a_banned_server_ends_with_its_own_status(hub: FakeHub, settings: Settings, systemd: Systemd) -> None:
    hub.refuse_link = grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(StopForGood) as stop:
        await run(settings, "1.2.3")
    assert stop.value.exit_status == EXIT_BANNED
    await systemd.until_told("STOPPING=1")
