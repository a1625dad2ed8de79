import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import AsyncIterator

import pytest

from agent.commands.commands import Commands, Deed
from agent.commands.root_deeds import ROOT_DEEDS
from agent.configuration import deeds
from agent.uplink.command_queue import MOST_WAITING, CommandQueue
from log_lines.lines import JsonLines
from protos.agent.v1.commands_pb2 import Command, CommandResult, FlushQueue, RestartMailServer
from protos.agent.v1.link_pb2 import AgentMessage


class Performed:
    """A deed that waits to be let go, and counts."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.go_on = asyncio.Event()

    async def __call__(self, command: Command) -> CommandResult:
        self.commands.append(command.id)
        await self.go_on.wait()
        return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_DONE)


@contextlib.asynccontextmanager
async def performing(queue: CommandQueue, known: dict[str, Deed]) -> AsyncIterator["asyncio.Queue[CommandResult]"]:
    results: asyncio.Queue[CommandResult] = asyncio.Queue()

    def send(message: AgentMessage) -> None:
        results.put_nowait(message.command_result)

    task = asyncio.create_task(Commands(queue, send, known).run())
    try:
        yield results
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def flush(seconds_left: float = 30.0) -> Command:
    return Command(id=uuid.uuid4().bytes, seconds_left=seconds_left, flush_queue=FlushQueue())


async def test_a_command_is_performed_once_and_its_result_told() -> None:
    deed, queue, command = Performed(), CommandQueue(), flush()
    deed.go_on.set()
    async with performing(queue, {"flush_queue": deed}) as results:
        assert queue.put(command)
        result = await results.get()
    assert (result.id, result.outcome) == (command.id, CommandResult.OUTCOME_DONE)
    assert deed.commands == [command.id]


async def test_a_command_that_comes_too_late_is_refused_and_not_begun() -> None:
    deed, queue = Performed(), CommandQueue()
    async with performing(queue, {"flush_queue": deed}) as results:
        assert queue.put(flush(seconds_left=-1.0))
        result = await results.get()
    assert result.outcome == CommandResult.OUTCOME_REFUSED
    assert "time had run out" in result.detail
    assert deed.commands == []


async def test_what_this_version_does_not_know_is_refused() -> None:
    queue = CommandQueue()
    async with performing(queue, {}) as results:
        for command in (flush(), Command(id=b"of a later version", seconds_left=30)):
            assert queue.put(command)
            assert (await results.get()).outcome == CommandResult.OUTCOME_REFUSED


async def test_a_slow_command_does_not_hold_up_another() -> None:
    slow, quick, queue = Performed(), Performed(), CommandQueue()
    quick.go_on.set()
    async with performing(queue, {"restart_mail_server": slow, "flush_queue": quick}) as results:
        assert queue.put(Command(id=b"slow", seconds_left=30, restart_mail_server=RestartMailServer()))
        command = flush()
        assert queue.put(command)
        assert (await results.get()).id == command.id


async def test_the_queue_is_bounded() -> None:
    queue = CommandQueue()
    assert [queue.put(flush()) for _ in range(MOST_WAITING + 1)] == [True] * MOST_WAITING + [False]


def test_the_two_halves_know_the_same_deeds() -> None:
    assert set(ROOT_DEEDS) == set(deeds.DEEDS)


async def test_each_line_that_is_written_for_a_command_names_the_request_that_asked_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.handler.setFormatter(JsonLines())
    caplog.set_level(logging.INFO, "agent.commands")
    command, deed, queue = flush(), Performed(), CommandQueue()
    command.request_id = "req-herring"
    deed.go_on.set()
    async with performing(queue, {"flush_queue": deed}) as results:
        assert queue.put(command)
        await results.get()
    (line,) = map(json.loads, caplog.text.splitlines())
    assert (line["message"], line["request_id"]) == ("command flush_queue: outcome_done ", "req-herring")
