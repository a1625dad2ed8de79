"""The installation's processes: ready, dead, started again, ended; and doors to servers outside."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from control_plane.errors import Unavailable
from control_plane.processes import child as child_module
from control_plane.processes.child import Child, ChildOrder
from control_plane.processes.outside import Connection, carried
from control_plane.processes.readiness import answers_healthy

_SERVES = """
import os, signal, socket, sys
print(os.getpid(), flush=True)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"STATUS=here\\nREADY=1", os.environ["NOTIFY_SOCKET"])
signal.sigwait([signal.SIGTERM])
"""


@pytest.fixture
async def told() -> asyncio.Queue[str]:
    return asyncio.Queue()


def order(tmp_path: Path, program: str) -> ChildOrder:
    return ChildOrder(
        name="worker",
        command=[sys.executable, "-c", program],
        environment=dict(os.environ),
        log=tmp_path / "worker.log",
        notify_socket=tmp_path / "n",
    )


@pytest.fixture
async def serving(tmp_path: Path, told: asyncio.Queue[str]) -> AsyncIterator[Child]:
    child = Child(order(tmp_path, _SERVES), told.put_nowait)
    await child.start()
    yield child
    await child.stop()


def pids(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "worker.log").read_text().split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_child_is_started_when_it_says_that_it_serves(serving: Child, tmp_path: Path) -> None:
    (pid,) = pids(tmp_path)
    assert alive(pid)
    await serving.stop()
    assert not alive(pid)


async def test_a_child_that_dies_is_started_again(
    serving: Child, tmp_path: Path, told: asyncio.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "_FIRST_WAIT_SECONDS", 0.01)
    (first,) = pids(tmp_path)
    os.kill(first, signal.SIGKILL)
    assert "ended with status -9; starting it again" in await told.get()
    assert await told.get() == "worker serves again"
    second = pids(tmp_path)[-1]
    assert second != first
    assert alive(second)


async def test_a_child_that_dies_while_it_starts_is_an_error_with_its_last_words(
    tmp_path: Path, told: asyncio.Queue[str]
) -> None:
    child = Child(order(tmp_path, "import sys; sys.exit('no database')"), told.put_nowait)
    with pytest.raises(Unavailable, match=r"worker ended with status 1 while starting.*no database"):
        await child.start()
    await child.stop()


async def test_the_api_serves_when_it_answers_200_and_not_before() -> None:
    answers = [b"HTTP/1.1 503 Unavailable\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="503"):
            await answers_healthy("127.0.0.1", port)
        await answers_healthy("127.0.0.1", port)


async def test_a_door_carries_each_connection_both_ways_and_closes_with_it() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(await asyncio.start_server(shout, "127.0.0.1", 0))
        port = outside.sockets[0].getsockname()[1]
        door = socket.create_server(("127.0.0.1", 0))
        await stack.enter_async_context(carried(door, lambda: asyncio.open_connection("127.0.0.1", port)))
        reader, writer = await asyncio.open_connection(*door.getsockname())
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_a_door_to_a_server_that_is_away_hangs_up() -> None:
    async def away() -> Connection:
        raise ConnectionRefusedError

    door = socket.create_server(("127.0.0.1", 0))
    async with carried(door, away):
        reader, writer = await asyncio.open_connection(*door.getsockname())
        assert await reader.read() == b""
        writer.close()
