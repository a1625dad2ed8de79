"""Named tasks: the first that ends stops the rest in reverse order."""

import asyncio
import logging

import pytest

from agent.supervisor import StopForGood, Supervisor, TaskFailed


class Recorder:
    """Tasks that run until they are stopped, and the order in which they were."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def waits(self, name: str) -> "Waiting":
        return Waiting(self, name)


class Waiting:
    def __init__(self, recorder: Recorder, name: str) -> None:
        self.recorder, self.name = recorder, name

    async def __call__(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.recorder.stopped.append(self.name)


async def fails() -> None:
    await asyncio.sleep(0)
    raise LookupError("broken")


async def returns() -> None:
    await asyncio.sleep(0)


async def gives_up() -> None:
    await asyncio.sleep(0)
    raise StopForGood("not wanted", 77)


async def test_the_first_failure_stops_the_rest_in_reverse_order(caplog: pytest.LogCaptureFixture) -> None:
    recorder, supervisor = Recorder(), Supervisor()
    for name in ("one", "two"):
        supervisor.add(name, recorder.waits(name))
    supervisor.add("bad", fails)
    supervisor.add("three", recorder.waits("three"))
    with pytest.raises(TaskFailed, match="bad"):
        await supervisor.run()
    assert recorder.stopped == ["three", "two", "one"]
    assert "task failed task=bad" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_task_that_returns_ends_the_process() -> None:
    supervisor = Supervisor()
    supervisor.add("short", returns)
    with pytest.raises(TaskFailed, match="short"):
        await supervisor.run()


async def test_a_stop_for_good_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()
    supervisor.add("link", gives_up)
    with pytest.raises(StopForGood, match="not wanted") as stop:
        await supervisor.run()
    assert stop.value.exit_status == 77
    assert "not wanted" in caplog.text
    assert "Traceback" not in caplog.text


async def test_an_asked_stop_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    recorder, supervisor = Recorder(), Supervisor()
    for name in ("one", "two"):
        supervisor.add(name, recorder.waits(name))
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    supervisor.stop()
    await running
    assert recorder.stopped == ["two", "one"]
    assert not caplog.records
