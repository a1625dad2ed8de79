"""The drain: one batch at a time, repeated when it is overdue, patient with a journal that cannot write."""

import asyncio
from collections.abc import Iterable

import pytest

from agent.journal import JournalUnavailable
from agent.uplink import events
from agent.uplink.events import EventDrain
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from protos.agent.v1.link_pb2 import AgentMessage


class Spool:
    def __init__(self, *event_ids: bytes) -> None:
        self.events_added = asyncio.Event()
        self.event_ids = list(event_ids)
        self.broken = False
        self.refused = asyncio.Event()

    async def unconfirmed(self, limit: int) -> list[DeliveryEvent]:
        self._check()
        return [DeliveryEvent(event_id=event_id) for event_id in self.event_ids[:limit]]

    async def confirm(self, event_ids: Iterable[bytes], closed_send_ids: Iterable[bytes]) -> None:
        self._check()
        self.event_ids = [event_id for event_id in self.event_ids if event_id not in event_ids]

    def _check(self) -> None:
        if self.broken:
            self.refused.set()
            raise JournalUnavailable("disk full")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CONFIRMATION_TIMEOUT", 0.01)
    monkeypatch.setattr(events, "JOURNAL_PAUSE", 0.01)


async def sent_while(drain: EventDrain, sent: asyncio.Queue[AgentMessage], batches: int) -> list[list[bytes]]:
    running = asyncio.create_task(drain.run())
    try:
        async with asyncio.timeout(5):
            messages = [await sent.get() for _ in range(batches)]
    finally:
        running.cancel()
    return [[event.event_id for event in message.delivery_events.events] for message in messages]


@pytest.mark.usefixtures("impatient")
async def test_an_overdue_batch_is_sent_again() -> None:
    sent: asyncio.Queue[AgentMessage] = asyncio.Queue()
    drain = EventDrain(Spool(b"1", b"2"), sent.put_nowait)
    assert await sent_while(drain, sent, 2) == [[b"1", b"2"], [b"1", b"2"]]


async def test_the_next_batch_waits_for_the_whole_of_the_one_before() -> None:
    sent: asyncio.Queue[AgentMessage] = asyncio.Queue()
    spool = Spool(b"1", b"2")
    drain = EventDrain(spool, sent.put_nowait)
    running = asyncio.create_task(drain.run())
    await sent.get()
    await drain.confirmed([b"1"], [])
    spool.event_ids.append(b"3")
    await asyncio.sleep(0)
    assert sent.empty()
    await drain.confirmed([b"2"], [])
    assert (await sent.get()).delivery_events.events[0].event_id == b"3"
    running.cancel()


async def test_what_comes_soon_after_a_batch_goes_together() -> None:
    sent: asyncio.Queue[AgentMessage] = asyncio.Queue()
    spool = Spool(b"1")
    drain = EventDrain(spool, sent.put_nowait)
    running = asyncio.create_task(drain.run())
    await sent.get()
    await drain.confirmed([b"1"], [])
    for event_id in (b"2", b"3"):
        spool.event_ids.append(event_id)
        spool.events_added.set()
        for _ in range(10):
            await asyncio.sleep(0)
    assert [event.event_id for event in (await sent.get()).delivery_events.events] == [b"2", b"3"]
    running.cancel()


@pytest.mark.usefixtures("impatient")
async def test_a_journal_that_cannot_write_is_waited_for() -> None:
    sent: asyncio.Queue[AgentMessage] = asyncio.Queue()
    spool = Spool(b"1")
    spool.broken = True
    drain = EventDrain(spool, sent.put_nowait)
    await drain.confirmed([b"1"], [])
    spool.refused.clear()
    running = asyncio.create_task(sent_while(drain, sent, 1))
    await spool.refused.wait()
    spool.broken = False
    assert await running == [[b"1"]]
