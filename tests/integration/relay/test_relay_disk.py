"""The disk under the journal is full: nothing more is taken, nothing is lost, and it goes on by itself."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.postfix import FakePostfix
from tests.integration.relay.life import PATIENCE, Kind, Life, Server, make_envelope, message_id

#: A disk of 2 MiB that is there for as long as its holder runs, in a mount namespace of its own.
_HOLD = 'mount -t tmpfs -o size=2m tmpfs "$1" && echo ready && exec sleep 300'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _HOLD, "sh", str(mount)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            yield Path(f"/proc/{holder.pid}/root{mount}")
        finally:
            holder.kill()


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(disk).f_bavail == 0
    return ballast


async def until_fault(life: Life, *, gone: bool = False) -> None:
    async with asyncio.timeout(PATIENCE):
        while bool(life.journal.fault) == gone:  # noqa: ASYNC110 - a fault is not announced
            await asyncio.sleep(0.02)


async def test_a_full_disk_stops_the_taking_and_its_end_resumes_it(server: Server, small_disk: Path) -> None:
    server.journal_path = small_disk / "journal.sqlite3"
    first, *envelopes = [make_envelope(number) for number in range(20)]
    async with server.life() as life:
        await server.enqueue(first)
        await server.until_told(Kind.KIND_DELIVERED, first)
        assert life.journal.fault == ""
        ballast = fill(small_disk)
        assert "space" in life.journal.fault
        await server.enqueue(*envelopes)
        await asyncio.sleep(1)
        assert await server.left_in_queue() == len(envelopes)
        assert (await life.journal.counts()).in_hand == 0
        ballast.unlink()
        await server.until_told(Kind.KIND_DELIVERED, *envelopes)
        await until_fault(life, gone=True)
    assert server.submissions() == {message_id(each): 1 for each in (first, *envelopes)}
    assert await server.left_in_queue() == 0


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed"])
async def test_a_disk_that_fills_up_in_the_middle_loses_and_repeats_nothing(
    server: Server, postfix: FakePostfix, small_disk: Path, killed: bool
) -> None:
    server.journal_path = small_disk / "journal.sqlite3"
    envelopes = [make_envelope(number) for number in range(30)]
    filled: list[Path] = []

    def fill_at_the_third(verb: str, argument: str) -> None:
        if verb == "." and len(postfix.accepted) == 2 and not filled:
            filled.append(fill(small_disk))

    postfix.answer = fill_at_the_third
    async with server.life() as life:
        await server.enqueue(*envelopes)
        await until_fault(life)
        await asyncio.sleep(0.5)
        if not killed:
            filled[0].unlink()
            await server.until_told(Kind.KIND_DELIVERED, *envelopes)
    if killed:
        filled[0].unlink()
        async with server.life() as life:
            await server.until_told(Kind.KIND_DELIVERED, *envelopes)
            assert (await life.journal.counts()).in_hand == 0
    assert server.submissions() == {message_id(envelope): 1 for envelope in envelopes}
    assert await server.left_in_queue() == 0
