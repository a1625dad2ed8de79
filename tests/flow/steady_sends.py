"""A steady stream of messages through the API, and what a domain's keys do meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.flow.spine import Party, Spine, call

_INTERVAL_SECONDS = 0.1


@dataclass
class SteadySends:
    """The messages sent so far, id by subject, and how to know of them."""

    messages: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def further(self, count: int, seconds: float = 60.0) -> None:
        """Return when so many more have been accepted."""
        enough = len(self.messages) + count
        async with asyncio.timeout(seconds), self.more:
            await self.more.wait_for(lambda: len(self.messages) >= enough)

    async def run(self, spine: Spine) -> None:
        """Send until it is ended; the first that is refused ends the test."""
        while not self.ended:
            subject = f"steady {len(self.messages)}"
            message_id = await spine.send(spine.receiver.inbox["email_address"], subject)
            async with self.more:
                self.messages[subject] = message_id
                self.more.notify_all()
            await asyncio.sleep(_INTERVAL_SECONDS)


@contextlib.asynccontextmanager
async def steady_sends(spine: Spine) -> AsyncIterator[SteadySends]:
    """Keep the sender sending every 100 ms until the context is left."""
    stream = SteadySends()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.run(spine))
        try:
            yield stream
        finally:
            stream.ended = True


async def until_retired(party: Party, domain_id: str, selector: str, seconds: float = 60.0) -> dict[str, Any]:
    """Return the key once no server signs with it any more."""
    async with asyncio.timeout(seconds):
        while True:
            domain = await call(party.client, "GET", f"/domains/{domain_id}")
            key: dict[str, Any] = next(key for key in domain["dkim_keys"] if key["selector"] == selector)
            if key["retired_at"]:
                return key
            await asyncio.sleep(_INTERVAL_SECONDS)
