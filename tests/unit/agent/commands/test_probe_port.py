import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from agent.commands.probe_port import ProbePort
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.commands_pb2 import ProbePort as Deed


class MailHost:
    """Greets as told, answers what it understands, and keeps what was said to it."""

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting
        self.heard: list[str] = []
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        while line := await reader.readline():
            self.heard.append(line.decode().strip())
            writer.write(b"250-mail.example\r\n250 SIZE 1000\r\n" if line.startswith(b"EHLO") else b"221 bye\r\n")
        writer.close()
        self.left.set()


@contextlib.asynccontextmanager
async def listening(host: MailHost) -> AsyncIterator[int]:
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def probe(port: int, host: str = "127.0.0.1", asked: int | None = None, patience: float = 10.0) -> CommandResult:
    command = Command(id=b"id", probe_port=Deed(host=host, port=port if asked is None else asked))
    return await ProbePort(port, patience)(command)


@pytest.mark.parametrize("greeting", [b"220 mx.example ESMTP\r\n", b"220-mx.example ESMTP\r\n220 be brief\r\n"])
async def test_a_greeting_is_read_and_leave_taken(greeting: bytes) -> None:
    host = MailHost(greeting)
    async with listening(host) as port:
        result = await probe(port)
        await host.left.wait()
    assert result.outcome == CommandResult.OUTCOME_DONE
    assert result.output == greeting.decode().splitlines()[0]
    assert [line.partition(" ")[0] for line in host.heard] == ["EHLO", "QUIT"]


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"554 go away\r\n", "it greets with '554 go away'"),
        (b"x" * 2000, "that is no mail server"),
        (b"220-more\r\n" * 100, "its reply does not end"),
    ],
)
async def test_anything_but_a_greeting_is_a_failure(greeting: bytes, words: str) -> None:
    async with listening(MailHost(greeting)) as port:
        result = await probe(port)
    assert (result.outcome, result.detail) == (CommandResult.OUTCOME_FAILED, f"127.0.0.1: {words}")


async def test_a_host_that_says_nothing_is_not_waited_for_long() -> None:
    async with listening(MailHost(b"")) as port:
        result = await probe(port, patience=0.05)
    assert result.outcome == CommandResult.OUTCOME_FAILED
    assert "did not answer" in result.detail


async def test_a_closed_port_is_a_failure() -> None:
    async with listening(MailHost(b"")) as port:
        pass
    result = await probe(port)
    assert (result.outcome, result.detail) == (CommandResult.OUTCOME_FAILED, "127.0.0.1: Connection refused")


@pytest.mark.parametrize("host", ["", "a b", "-x.example", "host/..", "::1", "x" * 254, "a..b"])
async def test_what_is_no_host_is_refused(host: str) -> None:
    assert (await probe(25, host)).outcome == CommandResult.OUTCOME_REFUSED


@pytest.mark.parametrize("port", [0, 22, 26, 587, 65536])
async def test_another_port_is_refused(port: int) -> None:
    assert (await probe(25, asked=port)).outcome == CommandResult.OUTCOME_REFUSED


async def test_name_servers_that_do_not_answer_hold_nobody_else_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, threads = threading.Event(), []

    def getfqdn() -> str:
        threads.append(threading.current_thread())
        answered.wait(10)
        return "mx.example"

    monkeypatch.setattr(socket, "getfqdn", getfqdn)
    async with listening(MailHost(b"220 mx.example ESMTP\r\n")) as port:
        result = await probe(port, patience=0.2)
        answered.set()
    assert result.detail == "127.0.0.1 did not answer within 0 s"
    assert threads != [threading.main_thread()]
