"""The sends in hand: journaled, and not known to be with Postfix. Bounded for each priority.

A send is here from the moment the journal has it until its submission is concluded. While it waits it is in a queue;
while a session submits it, or its outcome is being settled, it is only held.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from agent.relay.priorities import PRIORITIES, next_priority
from protos.queue.v1.envelope_pb2 import Envelope

#: Sends of one priority in hand at once: enough for every session to have a few, few enough that a server which dies
#: holds little up.
MOST_OF_EACH = 100
#: Room for so many is waited for once a hand is full: taking few at a time costs each of them a round trip to Redis.
LEAST_ROOM = 25


@dataclass(eq=False, slots=True)
class Send:
    """One send in hand; a new lease replaces its envelope."""

    envelope: Envelope
    priority: int
    #: When its lease ends by the boot clock, which nobody can set; None when that is not known.
    boot_deadline_ms: int | None = None
    #: How often Postfix has said no for now.
    refusals: int = 0
    #: From when on that counts as refused (hand_overs.py); None before the first, and without end once it counted.
    counts_from: float | None = None

    def is_overdue(self, now: "Moment") -> bool:
        """Whether its lease has run out by either clock."""
        by_boot = self.boot_deadline_ms is not None and self.boot_deadline_ms <= now.boot_ms
        return by_boot or self.envelope.lease_deadline_ms <= now.wall_ms


@dataclass(frozen=True, slots=True)
class Moment:
    """The present by both clocks."""

    wall_ms: int
    boot_ms: int


class Hand:
    """The sends in hand, in one event loop."""

    def __init__(self) -> None:
        self._sends: dict[bytes, Send] = {}
        self._count = [0 for _ in PRIORITIES]
        self._waiting: list[deque[Send]] = [deque() for _ in PRIORITIES]
        self._turn = 0
        #: Idle sessions, the one that was busy last at the end: it is the one whose connection is warm.
        self._idle: list[asyncio.Future[Send]] = []
        self._freed = [asyncio.Event() for _ in PRIORITIES]

    def hold(self, send: Send) -> None:
        """Count a send as in hand, without letting it go to a session yet."""
        self._sends[send.envelope.send_id] = send
        self._count[send.priority] += 1

    def offer(self, send: Send, *, first: bool = False) -> None:
        """Let a send that is held go to a session, after or before the others of its priority."""
        queue = self._waiting[send.priority]
        if first:
            queue.appendleft(send)
        else:
            queue.append(send)
        self._hand_out()

    def renew(self, envelope: Envelope, boot_deadline_ms: int | None) -> None:
        """Put a send in hand under its new lease."""
        if send := self._sends.get(envelope.send_id):
            send.envelope = envelope
            send.boot_deadline_ms = boot_deadline_ms

    def release(self, send: Send) -> None:
        """Be done with a send."""
        if self._sends.get(send.envelope.send_id) is send:
            del self._sends[send.envelope.send_id]
        self._count[send.priority] -= 1
        self._freed[send.priority].set()

    async def room(self, priority: int) -> int:
        """Wait until a good number more of this priority may be taken; return how many."""
        while self._count[priority] > MOST_OF_EACH - LEAST_ROOM:
            self._freed[priority].clear()
            await self._freed[priority].wait()
        return MOST_OF_EACH - self._count[priority]

    async def take(self) -> Send:
        """Wait for the next send to submit."""
        if send := self.take_if_waiting():
            return send
        place: asyncio.Future[Send] = asyncio.get_running_loop().create_future()
        self._idle.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.offer(place.result(), first=True)
            raise
        finally:
            if place in self._idle:
                self._idle.remove(place)

    def take_if_waiting(self) -> Send | None:
        """Return the next send to submit, if one waits."""
        priority = next_priority(self._turn, [len(queue) for queue in self._waiting])
        if priority is None:
            return None
        self._turn += 1
        return self._waiting[priority].popleft()

    def take_overdue(self, now: Moment) -> list[Send]:
        """Return the waiting sends whose lease has run out; they no longer wait."""
        overdue: list[Send] = []
        for priority, queue in enumerate(self._waiting):
            overdue += (send for send in queue if send.is_overdue(now))
            self._waiting[priority] = deque(send for send in queue if not send.is_overdue(now))
        return overdue

    def _hand_out(self) -> None:
        while self._idle:
            # A session that gives up waiting is still listed until its task runs again.
            if self._idle[-1].done():
                self._idle.pop()
            elif send := self.take_if_waiting():
                self._idle.pop().set_result(send)
            else:
                return
