"""Many clients of an API at once, each on a connection and from an address of its own, and what requests take."""

import asyncio
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from tests.bench.http_load import request_of
from tests.bench.machine import ProcessorTime

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_SECONDS = 120.0
#: The share of the processors' time that a host may take from what is measured, and how often it is measured for that.
_UNDISTURBED = 0.01
_TRIES = 4
_LONGEST_HEAD = 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, and after how many seconds."""

    status: int
    body: bytes = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Client:
    """A connection that is kept, to a port of this machine's, with a key."""

    port: int
    key: str = field(repr=False)
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    @classmethod
    async def connect(cls, place: int, port: int, key: str) -> "Client":
        """Connect from 127.0.1.<place + 1>: requests are limited by address too."""
        source = (f"127.0.1.{place + 1}", 0)
        streams = await asyncio.open_connection("127.0.0.1", port, limit=_LONGEST_HEAD, local_addr=source)
        return cls(port, key, *streams)

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request and return its answer; `idempotency_key=…` is the header Idempotency-Key."""
        started = time.perf_counter()
        self.writer.write(request_of(method, self.port, path, self.key, body, headers=headers))
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        content = await self.reader.readexactly(int(length[1])) if length else b""
        return Answer(int(head[9:12]), content, time.perf_counter() - started)


#: A client's request of that turn: it is sent, and its seconds are returned.
Asking = Callable[[int], Awaitable[float]]


async def p95_of(clients: Sequence[Asking], times: int, pause: float = 0.0) -> float:
    """Have all clients ask side by side, so many times each; return the 95th percentile in milliseconds.

    Each begins a request every `pause` seconds by the clock, and at once where the one before took longer; the clients'
    turns lie evenly in that time. Without a pause the machine is as busy as it can be.

    A virtual machine's host may have its processors otherwise engaged: a few tenths of a second are enough to be all
    that the slowest twentieth tells. While it did, all is asked again, a few times at most; what counts is the time
    that it took least of.
    """
    tries = []
    for _ in range(_TRIES):
        before = ProcessorTime.now()
        p95 = await p95_once(clients, times, pause)
        tries.append((before.share_taken_since(), p95))
        if tries[-1][0] <= _UNDISTURBED:
            break
    return min(tries, key=itemgetter(0))[1]


async def p95_once(clients: Sequence[Asking], times: int, pause: float = 0.0) -> float:
    """Do so, whatever the host does."""
    begun = asyncio.get_running_loop().time()
    async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
        firsts = [begun + pause * place / len(clients) for place in range(len(clients))]
        tasks = [
            group.create_task(_asked(client, [first + pause * turn for turn in range(times)]))
            for client, first in zip(clients, firsts, strict=True)
        ]
    seconds = [each for task in tasks for each in task.result()]
    return statistics.quantiles(seconds, n=20)[-1] * 1000


async def _asked(client: Asking, moments: Sequence[float]) -> list[float]:
    seconds = []
    for turn, moment in enumerate(moments):
        await asyncio.sleep(moment - asyncio.get_running_loop().time())
        seconds.append(await client(turn))
    return seconds
