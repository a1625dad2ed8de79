"""Tells the journal what Postfix accepted: all that came while the last was written down, in one operation."""

import asyncio
from functools import partial

from agent.journal import Journal
from agent.relay.hand import Hand, Send
from agent.relay.patience import persist


class AcceptedSends:
    """Sends that Postfix has and the journal does not know it of; after a crash the log tells of these."""

    def __init__(self, journal: Journal, hand: Hand) -> None:
        self._journal = journal
        self._hand = hand
        self._waiting: list[tuple[Send, str]] = []
        self._came = asyncio.Event()

    def add(self, send: Send, queue_id: str) -> None:
        """Take note that Postfix accepted a send under this queue id."""
        self._waiting.append((send, queue_id))
        self._came.set()

    async def run(self) -> None:
        """Write down what comes, and release it, until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            batch, self._waiting = self._waiting, []
            told = [(send.envelope.send_id, queue_id) for send, queue_id in batch]
            await persist(partial(self._journal.relayed_all, told))
            for send, _ in batch:
                self._hand.release(send)
