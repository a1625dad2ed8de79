"""Which updates wait, and when apt is asked."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics import package_updates
from agent.metrics.package_updates import Stamps, UpdateWatch, is_due, read_held, read_updates
from protos.agent.v1.telemetry_pb2 import OfferedPackage, PackageUpdates

SIMULATED = """\
Inst libc6 [2.36-9+deb12u3] (2.36-9+deb12u4 Debian:12.5/stable, Debian-Security:12/stable-security [amd64]) []
Conf libc6 (2.36-9+deb12u4 Debian:12.5/stable, Debian-Security:12/stable-security [amd64])
Inst tzdata [2023c-5] (2024a-0+deb12u1 Debian:12.5/stable [all])
Inst postfix [3.7.10-0+deb12u1] (3.7.11-0+deb12u1 Debian:12.7/stable [amd64]) []
Inst dovecot-core [1:2.3.19.1+dfsg1-2.1] (1:2.3.19.1+dfsg1-2.1+deb12u1 Ubuntu:22.04/jammy-security [amd64])
Inst linux-image-6.1.0-18-amd64 (6.1.76-1 Debian:12.5/stable [amd64])
Remv something [1.0]
"""
WANTED = "postfix\thold\nlibc6\tinstall\nnginx\thold\nold\tdeinstall\n"


def test_what_waits_is_counted_and_mail_packages_are_told_with_their_versions() -> None:
    updates = read_updates(SIMULATED, read_held(WANTED))
    assert (updates.waiting, updates.security) == (4, 2)
    assert list(updates.mail) == [
        OfferedPackage(name="postfix", installed="3.7.10-0+deb12u1", offered="3.7.11-0+deb12u1", held=True),
        OfferedPackage(
            name="dovecot-core",
            installed="1:2.3.19.1+dfsg1-2.1",
            offered="1:2.3.19.1+dfsg1-2.1+deb12u1",
            security=True,
        ),
    ]


@given(st.text(alphabet="Inst [](),:.-ab1\n"))
def test_whatever_apt_says_is_read(said: str) -> None:
    updates = read_updates(said, ())
    assert updates.security <= updates.waiting


READ = Stamps(1, 1)


@pytest.mark.parametrize(
    ("read", "before", "now", "seconds", "due"),
    [
        (None, None, READ, 0.0, False),
        (None, READ, READ, 0.0, True),
        (READ, READ, READ, 1e6, False),
        # Fetched, and over.
        (READ, Stamps(2, 1), Stamps(2, 1), 60.0, True),
        (READ, Stamps(2, 1), Stamps(3, 1), 1e6, False),
        # Packages changed alone.
        (READ, Stamps(1, 2), Stamps(1, 2), 3599.0, False),
        (READ, Stamps(1, 2), Stamps(1, 2), 3600.0, True),
    ],
)
def test_apt_is_asked_when_it_may_say_something_else(
    read: Stamps | None, before: Stamps | None, now: Stamps, seconds: float, *, due: bool
) -> None:
    assert is_due(read, before, now, seconds) == due


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The folder that apt keeps its lists in; nothing was ever fetched."""
    folder = tmp_path / "lists"
    folder.mkdir()
    return folder


@pytest.fixture
def watch(tmp_path: Path, lists: Path, monkeypatch: pytest.MonkeyPatch) -> UpdateWatch:
    """A machine whose apt says what is in the file `simulated`."""
    for name, content in (("status", ""), ("simulated", SIMULATED), ("wanted", WANTED)):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(package_updates, "_SIMULATE", ("cat", str(tmp_path / "simulated")))
    monkeypatch.setattr(package_updates, "_WANTED", ("cat", str(tmp_path / "wanted")))
    return UpdateWatch(lists, tmp_path / "status")


def fetch(lists: Path, second: int) -> None:
    (lists / "archive_InRelease").write_text(str(second))
    os.utime(lists, (second, second))


async def look(watch: UpdateWatch, start: int, end: int) -> PackageUpdates | None:
    """Look each minute, as for ever, and return what is told after."""
    for second in range(start, end, 60):
        await watch.look(float(second))
    return watch.told


async def test_what_was_fetched_is_told_until_something_else_is(
    tmp_path: Path, lists: Path, watch: UpdateWatch
) -> None:
    assert await look(watch, 0, 600) is None
    fetch(lists, 5)
    told = await look(watch, 600, 720)
    assert told is not None
    assert (told.waiting, told.lists_ms) == (4, 5000)

    replace(tmp_path / "simulated", "")
    assert await look(watch, 720, 8000) is told
    fetch(lists, 9)
    told = await look(watch, 8000, 8120)
    assert told is not None
    assert (told.waiting, told.lists_ms) == (0, 9000)


async def test_an_apt_that_fails_is_asked_again_in_an_hour(tmp_path: Path, lists: Path, watch: UpdateWatch) -> None:
    (tmp_path / "simulated").rename(tmp_path / "away")
    fetch(lists, 5)
    assert await look(watch, 0, 120) is None
    (tmp_path / "away").rename(tmp_path / "simulated")
    assert await look(watch, 120, 3600) is None
    assert await look(watch, 3600, 3720) is not None


def replace(file: Path, content: str) -> None:
    file.write_text(content)
