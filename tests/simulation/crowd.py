"""Processes full of agents, seen as one: each is told the same, and their answers are added up.

They stand for as many machines of their own. On this one they are not to take the time of the server that is measured:
what it leaves is theirs.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

#: One event loop carries so many.
_AGENTS_EACH = 2500
#: For a process that makes thousands of agents before it listens.
_ANSWER_SECONDS = 120.0
_LOOK_SECONDS = 0.25
#: How much the agents are behind the server, in nice's steps.
_BEHIND = 10


@dataclass(frozen=True, slots=True)
class Told:
    """What all agents together say."""

    connected: int
    sent: int
    configured: int
    ended: int
    #: Moments by the monotonic clock, since they were told last.
    attempts: list[float]
    welcomes: list[float]


class Fell(Exception):
    """Agents did not come to where they should have."""


class Crowd:
    """All agents of a run."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    async def connect(self, over: float) -> None:
        """Have all connect, spread over so many seconds."""
        await self._order("connect", over)

    async def report(self, *, on: bool) -> None:
        """Have them report, or no more."""
        await self._order("report", float(on))

    async def tell(self) -> Told:
        """Ask all how they stand."""
        answers = await self._order("tell", 0)

        def total(name: str) -> int:
            return sum(answer[name] for answer in answers)

        return Told(
            connected=total("connected"),
            sent=total("sent"),
            configured=total("configured"),
            ended=total("ended"),
            attempts=[moment for answer in answers for moment in answer["attempts"]],
            welcomes=[moment for answer in answers for moment in answer["welcomes"]],
        )

    def cpu_seconds(self) -> float:
        """Return the seconds of processors' time that the agents have used."""
        used = [psutil.Process(process.pid).cpu_times() for process in self._processes]
        return sum(times.user + times.system for times in used)

    async def until(self, holds: Callable[[Told], bool], seconds: float, what: str) -> list[Told]:
        """Ask again and again until it holds; return all answers. Raises `Fell`."""
        answers: list[Told] = []
        deadline = asyncio.get_running_loop().time() + seconds
        while not (answers and holds(answers[-1])):
            if asyncio.get_running_loop().time() > deadline:
                last = answers[-1]
                stand = f"{last.connected} are connected, {last.configured} configured, {last.ended} gave up"
                raise Fell(f"{what}: after {seconds:.0f} s {stand}")
            await asyncio.sleep(_LOOK_SECONDS)
            answers.append(await self.tell())
        return answers

    async def _order(self, what: str, over: float) -> list[dict[str, Any]]:
        line = json.dumps({"do": what, "over": over}).encode() + b"\n"
        return list(await asyncio.gather(*(_ask(process, line) for process in self._processes)))


@asynccontextmanager
async def crowd(count: int, log: Path, module: str, *arguments: str) -> AsyncIterator[Crowd]:
    """Run so many agents in processes of `module`, which is told its arguments, the first number and how many."""
    firsts = range(0, count, _AGENTS_EACH)
    processes: list[asyncio.subprocess.Process] = []
    try:
        with log.open("ab") as errors:
            for first in firsts:
                numbers = (str(first), str(min(_AGENTS_EACH, count - first)))
                processes.append(await _start([module, *arguments, *numbers], errors.fileno()))
        yield Crowd(processes)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in processes))


async def _start(words: Sequence[str], errors: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("nice", "-n", str(_BEHIND), "setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m"),
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        limit=2**24,
        env=dict(os.environ) | {"GRPC_VERBOSITY": "NONE"},
    )


async def _ask(process: asyncio.subprocess.Process, line: bytes) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise TypeError("the process was started without pipes")
    process.stdin.write(line)
    async with asyncio.timeout(_ANSWER_SECONDS):
        answer = await process.stdout.readline()
    if not answer:
        raise Fell("a process of agents ended")
    told: dict[str, Any] = json.loads(answer)
    return told
