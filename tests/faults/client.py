"""A careful client: asks the API to send, writes down what it accepted, and repeats what it has no clear answer to."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from tests.faults.plan import Order

_AT_ONCE = 16
_TIMEOUT = 5.0
_PAUSE = 0.2
#: Seconds after which an order without an answer is given up.
_PATIENCE = 90.0


@dataclass(slots=True)
class Client:
    """Sends orders from one inbox. `run` makes the idempotency keys of this run its own."""

    http: httpx.AsyncClient
    inbox_id: str
    run: str
    #: Send id -> order, for what was answered with 2xx.
    accepted: dict[str, Order] = field(default_factory=dict)
    #: Orders that were answered with a clear no, or never.
    refused: list[Order] = field(default_factory=list)
    #: How many requests had no clear answer and were repeated.
    repeated: int = 0

    async def send_all(self, orders: Sequence[Order], progress: Callable[[int], None]) -> None:
        """Send as fast as the API takes it; `progress` hears how many were accepted."""
        waiting = list(reversed(orders))

        async def send_some() -> None:
            while waiting:
                await self._send(waiting.pop())
                progress(len(self.accepted) + len(self.refused))

        await asyncio.gather(*(send_some() for _ in range(_AT_ONCE)))

    async def _send(self, order: Order) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (answer := await self._ask(order)) is None or answer.is_server_error:
            self.repeated += 1
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_PAUSE)
        if answer is not None and answer.is_success:
            self.accepted[answer.json()["id"]] = order
        else:
            self.refused.append(order)

    async def _ask(self, order: Order) -> httpx.Response | None:
        """Return the answer, or None when there was none and nobody knows."""
        body = {
            "to": order.recipient,
            "subject": f"{self.run} {order.number}",
            "text": f"Message {order.number} of {self.run}.\n",
            "priority": order.priority,
        }
        try:
            return await self.http.post(
                f"/inboxes/{self.inbox_id}/messages",
                json=body,
                headers={"Idempotency-Key": f"{self.run}-{order.number}"},
                timeout=_TIMEOUT,
            )
        except httpx.TransportError:
            return None
