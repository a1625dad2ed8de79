"""Ends what Postfix has no longer and its log never told the end of.

Postfix's log writer ends with its master, in order or not, and deliveries that end in those moments leave no line: such
a send would stay relayed until the log has been silent for a week. So what is silent for a while is looked up in
Postfix's queue; all of it at once when a new master has started. What is missing there twice, a while apart, since a
listing may pass over a message that is moved meanwhile, and of which the log, read to its end, still tells nothing, is
uncertain. A line that is found later still settles it.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from agent.journal import InPostfix, Journal, Refusal, SendState
from agent.relay.patience import persist
from agent.relay.settle import QueuedAmong
from log_lines.lines import about

#: How long a send is with Postfix before it is looked up, in milliseconds, and the seconds between rounds.
SILENT_MS = 10 * 60 * 1000
EVERY = 300.0
#: Seconds between the two looks.
BETWEEN = 60.0
#: Sends looked up together; a round has so many, and after the start of a master there are as many rounds as it takes.
AT_ONCE = 5000

VANISHED = Refusal(
    SendState.UNCERTAIN, "Postfix no longer has it in its queue, and its log does not say what became of it."
)

_log = logging.getLogger(__name__)


class VanishedWatch:
    """Looks what Postfix still has; `log_is_read` waits until the log has been read up to now, and says if it was."""

    def __init__(self, journal: Journal, queued_among: QueuedAmong, log_is_read: Callable[[], Awaitable[bool]]) -> None:
        self._journal = journal
        self._queued_among = queued_among
        self._log_is_read = log_is_read
        self._position = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            if await self._new_master_within(EVERY):
                await self._look_at_all()
            else:
                await self._look_at_some()

    async def _new_master_within(self, seconds: float) -> bool:
        started = self._journal.master_started
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await started.wait()
        was_set = started.is_set()
        started.clear()
        return was_set

    async def _look_at_all(self) -> None:
        position = 0
        while sends := await self._next_sends(None, position):
            await self._look_at(sends)
            position = sends[-1].row_id

    async def _look_at_some(self) -> None:
        sends = await self._next_sends(SILENT_MS, self._position)
        await self._look_at(sends)
        self._position = sends[-1].row_id if len(sends) == AT_ONCE else 0

    async def _next_sends(self, silent_ms: int | None, after: int) -> list[InPostfix]:
        return await persist(partial(self._journal.in_postfix, silent_ms, after, AT_ONCE))

    async def _look_at(self, sends: Sequence[InPostfix]) -> None:
        """Look twice, and end what is missing both times."""
        missing = await self._missing({send.send_id: send.queue_id for send in sends})
        if not missing:
            return
        await asyncio.sleep(BETWEEN)
        for send_id in await self._missing(missing):
            with about(send_id=uuid.UUID(bytes=send_id)):
                _log.error("a send is uncertain: %s", VANISHED.detail)
            await persist(partial(self._journal.end, send_id, VANISHED))

    async def _missing(self, queue_ids: Mapping[bytes, str]) -> dict[bytes, str]:
        """Return those of these sends that Postfix does not list and its log does not tell of; none if in doubt."""
        if not queue_ids:
            return {}
        listed = await self._queued_among(frozenset(queue_ids.values()))
        if listed is None:
            return {}
        missing = [send_id for send_id, queue_id in queue_ids.items() if queue_id not in listed]
        if not missing or not await self._log_is_read():
            return {}
        return await persist(partial(self._journal.relayed_as, missing))
