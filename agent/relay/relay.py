"""The relay: takes sends from the queue, hands each to Postfix once, and knows afterwards what became of it.

On the way a send is in one place more, never in one less: Redis gives it up when the journal has it, the journal gives
its message up when Postfix has it, and the journal keeps what is to be told until the control plane has it.

After a crash the journal says what was in hand. What had not begun to go to Postfix goes now; what had is settled
first (`settle`).

SECURITY: reads and writes nothing but the journal, Redis as this server's user, and Postfix's door on loopback.
DIAGNOSTICS: the health report's in_hand, in_postfix, handed_over, refused, malformed_envelopes and
redis_connected.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from agent.journal import Journal, NowMs, SendState, wall_ms
from agent.relay.connections import clients_of
from agent.relay.hand import Hand, Moment, Send
from agent.relay.hand_overs import HandOvers
from agent.relay.keyring import KeyRing
from agent.relay.patience import persist
from agent.relay.sessions import LEASE_EXPIRED, Submitter
from agent.relay.settle import QueuedAmong, Settler
from agent.relay.taking import Taker
from agent.relay.vanished import VanishedWatch
from agent.uplink.latest import Latest
from protos.agent.v1.configuration_pb2 import DesiredState
from protos.agent.v1.link_pb2 import QueueAccess

INJECTION_HOST = "127.0.0.1"
INJECTION_PORT = 10025
#: SMTP sessions at once; more raise what Postfix accepts and not what it delivers.
SESSIONS = 10
#: Seconds between looks for waiting sends whose lease has run out.
_OVERDUE_LOOK = 1.0
#: Seconds between rounds of housekeeping, and between those of them that found nothing to do.
_NEXT_ROUND = 0.5
_HOUSEKEEPING = 600.0

_log = logging.getLogger(__name__)


class Relay:
    """Wires the parts of the relay.

    `applied` is the configuration that is applied, with its keys; `queued_among` asks Postfix for its queue.
    """

    def __init__(
        self,
        journal: Journal,
        queue_access: Latest[QueueAccess],
        applied: Latest[DesiredState],
        request_queue_access: Callable[[], None],
        *,
        queued_among: QueuedAmong,
        injection_port: int = INJECTION_PORT,
        now_ms: NowMs = wall_ms,
    ) -> None:
        self._journal = journal
        self._port = injection_port
        self._now_ms = now_ms
        #: What came of handing sends over to Postfix.
        self.hand_overs = HandOvers()
        self._hand = Hand()
        #: What sends are signed with.
        self.keys = KeyRing(applied)
        self._taker = Taker(journal, self._hand, queue_access, request_queue_access, now_ms)
        self._settler = Settler(journal, self._hand, INJECTION_HOST, injection_port, queued_among)

        self._vanished = VanishedWatch(journal, queued_among, self._settler.log_is_read)

    @property
    def redis_connected(self) -> bool:
        """False while the queue cannot be reached, or refuses this server."""
        return self._taker.connected

    async def run(self) -> None:
        """Relay until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            await self._recover(tasks)
            submitter = Submitter(
                self._journal,
                self._hand,
                self.keys,
                self._settler,
                tasks,
                hand_overs=self.hand_overs,
                host=INJECTION_HOST,
                port=self._port,
                now_ms=self._now_ms,
            )
            tasks.create_task(self.keys.run())
            for _ in range(SESSIONS):
                tasks.create_task(submitter.run_session())
            tasks.create_task(self._taker.run())
            tasks.create_task(self._end_overdue())
            tasks.create_task(self._keep_house())
            tasks.create_task(self._vanished.run())

    async def _recover(self, tasks: asyncio.TaskGroup) -> None:
        """Go on with what was in hand, before any session of this life is open."""
        cut: list[Send] = []
        for found in await persist(self._journal.open_sends):
            send = Send(found.envelope, found.priority, found.boot_deadline_ms)
            self._hand.hold(send)
            if found.state is SendState.SUBMITTING:
                cut.append(send)
            else:
                self._hand.offer(send)
        if cut:
            tasks.create_task(self._settler.settle(cut, clients_of(self._port)))

    async def _end_overdue(self) -> None:
        """End what waits beyond its lease even while Postfix is away."""
        while True:
            await asyncio.sleep(_OVERDUE_LOOK)
            for send in self._hand.take_overdue(Moment(self._now_ms(), self._journal.boot.now_ms())):
                await persist(partial(self._journal.end, send.envelope.send_id, LEASE_EXPIRED))
                self._hand.release(send)

    async def _keep_house(self) -> None:
        while True:
            changed = await persist(self._journal.forget_old)
            await asyncio.sleep(_NEXT_ROUND if changed else _HOUSEKEEPING)
