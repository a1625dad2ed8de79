"""The backups process tells of itself while it works, and of what came of its work."""

import asyncio
import datetime as dt
import os
import signal
import threading
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from control_plane.backups.results import Kind, Newest
from control_plane.processes import backups
from control_plane.settings import Settings

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


class Waits:
    """Works until it is told to stop, and has something to tell meanwhile."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def run(self, stopping: threading.Event) -> None:
        backups.show({Kind.COPY: Newest(True, "copy 1 is saved", NOW, NOW, NOW)})
        self.told.set()
        assert stopping.wait(30)


async def scraped(path: Path) -> str:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


async def test_it_shows_metrics_while_it_works_and_ends_when_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    working, door = Waits(), tmp_path / "door"
    monkeypatch.setattr(backups, "Backups", lambda _settings: working)
    settings = Settings.model_validate({"state_dir": tmp_path, "metrics_listen": str(door)})
    async with asyncio.timeout(30):
        serving = asyncio.create_task(backups.serve(settings))
        assert await asyncio.to_thread(working.told.wait, 30)
        assert 'penguin_backup_ok{kind="copy"} 1.0' in await scraped(door)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
    assert not door.exists()


def test_what_failed_is_shown_with_the_moment_of_what_was_good_before() -> None:
    good = NOW - dt.timedelta(days=7)
    backups.show({Kind.RESTORE_TEST: Newest(False, "a table lost a row", NOW, good, good)})
    of_tests = {"kind": "restore_test"}
    assert REGISTRY.get_sample_value("penguin_backup_ok", of_tests) == 0
    assert REGISTRY.get_sample_value("penguin_backup_good_timestamp_seconds", of_tests) == good.timestamp()
