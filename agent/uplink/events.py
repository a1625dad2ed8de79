"""Takes delivery events from the journal to the control plane, and out of the journal once they are confirmed.

One batch is on its way at a time. What is not confirmed when the stream ends, or within a while, is sent again; the
control plane applies an event id once, so repeating is safe and losing is impossible.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from agent.journal import JournalUnavailable
from protos.agent.v1.delivery_pb2 import DeliveryEvent, DeliveryEvents
from protos.agent.v1.link_pb2 import AgentMessage

logger = logging.getLogger(__name__)

MAX_BATCH = 500
#: Seconds from the beginning of one batch to that of the next: each costs the control plane a transaction, and it is
#: not to be one for each message. What comes alone goes at once.
SPACING = 0.05
#: Seconds after which an unconfirmed batch is sent again over the same stream.
CONFIRMATION_TIMEOUT = 30.0
#: Seconds to wait while the journal cannot be read.
JOURNAL_PAUSE = 5.0


class EventSpool(Protocol):
    """The part of the journal that events go through. Its methods may raise `JournalUnavailable`."""

    @property
    def events_added(self) -> asyncio.Event:
        """Set whenever events were added; cleared by the drain."""

    async def unconfirmed(self, limit: int) -> list[DeliveryEvent]:
        """Return the oldest events that are not confirmed."""

    async def confirm(self, event_ids: Iterable[bytes], closed_send_ids: Iterable[bytes]) -> None:
        """Forget these events, and note which sends will never be leased again; unknown ids are ignored."""


class EventDrain:
    """Sends batches for as long as `run` runs, which is while a stream is up."""

    def __init__(self, spool: EventSpool, put: Callable[[AgentMessage], None]) -> None:
        self._spool = spool
        self._put = put
        self._on_the_way: set[bytes] = set()
        self._settled = asyncio.Event()

    async def run(self) -> None:
        """Send batch after batch, each when the one before is confirmed or overdue."""
        while True:
            self._spool.events_added.clear()
            try:
                batch = await self._spool.unconfirmed(MAX_BATCH)
            except JournalUnavailable as error:
                logger.warning("events cannot be read reason=%r", str(error))
                await asyncio.sleep(JOURNAL_PAUSE)
                continue
            if batch:
                begun = asyncio.get_running_loop().time()
                await self._send(batch)
                if len(batch) < MAX_BATCH:
                    await asyncio.sleep(begun + SPACING - asyncio.get_running_loop().time())
            else:
                await self._spool.events_added.wait()

    async def confirmed(self, event_ids: Iterable[bytes], closed_send_ids: Iterable[bytes]) -> None:
        """Take the control plane's confirmation. One that cannot be written down is earned again by sending again."""
        ids = list(event_ids)
        try:
            await self._spool.confirm(ids, closed_send_ids)
        except JournalUnavailable as error:
            logger.warning("confirmed events cannot be forgotten reason=%r", str(error))
            return
        self._on_the_way.difference_update(ids)
        if not self._on_the_way:
            self._settled.set()

    async def _send(self, batch: list[DeliveryEvent]) -> None:
        self._on_the_way = {event.event_id for event in batch}
        self._settled.clear()
        self._put(AgentMessage(delivery_events=DeliveryEvents(events=batch)))
        try:
            async with asyncio.timeout(CONFIRMATION_TIMEOUT):
                await self._settled.wait()
        except TimeoutError:
            return
