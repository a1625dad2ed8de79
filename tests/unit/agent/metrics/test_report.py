"""What a report is made of, where that takes more than one sample."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agent.metrics import report
from agent.metrics.agent_upgrade import agent_upgrade
from agent.metrics.certificate_issue import CertificateIssueFile
from agent.metrics.certificates import CertificateWatch
from agent.metrics.deliveries import Deliveries
from agent.metrics.disk_forecast import DiskForecast
from agent.metrics.mail_backup import mail_backup
from agent.metrics.report import Reporter
from agent.metrics.status_file import StatusFile
from protos.agent.v1.telemetry_pb2 import Disk, HealthReport, Relay


async def _no_sends() -> Relay:
    return Relay()


@pytest.fixture
async def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["asyncio.Queue[HealthReport]"]:
    """Report again and again on a server without systemd and Postfix, with a disk that loses half of its room."""
    free, clock = [100, 75, 50], itertools.count(0, 15)

    class UsualForecast(DiskForecast):
        """As if reports came at their usual interval."""

        def told(self, disks: Sequence[Disk], now: float) -> Sequence[Disk]:
            return super().told(disks, now + next(clock))

    monkeypatch.setattr(report, "DiskForecast", UsualForecast)

    def read_disks() -> list[Disk]:
        return [Disk(mount="/", total_bytes=200, free_bytes=free.pop(0) if len(free) > 1 else free[0])]

    monkeypatch.setattr(report, "read_disks", read_disks)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(report, "LOOK", 0.001)
    made: asyncio.Queue[HealthReport] = asyncio.Queue()
    nowhere = tmp_path / "nothing"
    reporter = Reporter(
        made.put_nowait,
        interval=lambda: 0.0,
        relay=_no_sends,
        certificates=CertificateWatch(),
        certificate_issue=CertificateIssueFile(nowhere),
        upgrade=StatusFile(nowhere, agent_upgrade),
        package_change=StatusFile(nowhere, agent_upgrade),
        mail_backup=StatusFile(nowhere, mail_backup),
        deliveries=Deliveries(),
        drift=lambda: None,
        logins=lambda: None,
        corrupt=lambda: None,
        signing_test=lambda: None,
        package_updates=lambda: None,
        agent_version="1.2.3",
    )
    running = asyncio.create_task(reporter.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_how_long_disks_last_is_told_by_what_was_free_in_reports_before(
    reports: "asyncio.Queue[HealthReport]",
) -> None:
    told = [(await reports.get()).disks[0] for _ in range(3)]
    assert [(disk.free_bytes, disk.HasField("seconds_to_full")) for disk in told] == [
        (100, False),
        (75, False),
        (50, True),
    ]
