"""The life of sends as a state machine: what anybody may do next, and what must hold whatever they did.

Rules act on the real statements, the real journal and a real Redis; what is lost, repeated, late or killed is a rule
too. When the rules are over all faults end, everything is drained, and then every send has ended.
"""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redis.asyncio import Redis

from control_plane.delivery.states import FINAL
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent, EventsConfirmed
from tests.integration.database import SomeTenant
from tests.integration.send_life.clock import START, ModelClock
from tests.integration.send_life.control import TOLERANCE_SECONDS, ControlPlane
from tests.integration.send_life.ledger import Ledger
from tests.integration.send_life.postfix import Outcome, Treatment
from tests.integration.send_life.server import Phase, Server

T = TypeVar("T")

#: The last is never suppressed.
_ADDRESSES = ("a@walrus.example", "B@Walrus.example", "c@walrus.example")
_PRIORITIES = range(3)
_ALL = 1000
_LIMIT = 3
#: How long is waited between rounds once all faults are over, until everything has ended: for leases, then for what
#: Postfix had and its log lost, and all the while for leases that were given while the database was ten days ahead.
_WAITS = (*(timedelta(seconds=400),) * 4, *(timedelta(days=3),) * 8)

#: Sends in one example.
_MOST = 8

addresses = st.sampled_from(_ADDRESSES)
which = st.integers(0, 5)
_TEN_DAYS = 10 * 24 * 3600
seconds = st.sampled_from([1, 100, 299, 301, 331, 3600, _TEN_DAYS])
#: Ten days are longer than any part remembers or waits.
skews = st.sampled_from([-_TEN_DAYS, -3600, -20, 0, 20, 3600, _TEN_DAYS])
treatments = st.sampled_from(Treatment)


@dataclass(frozen=True, slots=True)
class Parts:
    """What all examples share."""

    runner: asyncio.Runner
    api: Database
    system: Database
    #: Connections of their own for queuers that run at the same moment.
    queuers: tuple[Database, ...]
    redis: Redis
    tenant: SomeTenant
    vps_ids: tuple[uuid.UUID, ...]
    folder: Path


class SendLife(RuleBasedStateMachine):
    """A tenant with two servers, each with an inbox."""

    parts: ClassVar[Parts]

    @initialize(sends=st.integers(1, 4), far=st.integers(0, 3))
    def begin(self, sends: int, far: int) -> None:
        """Begin with some sends, the further on the way the larger `far` is."""
        parts = self.parts
        self.folder = Path(tempfile.mkdtemp(dir=parts.folder))
        self.clock = ModelClock(parts.system)
        self.ledger = Ledger(timedelta(seconds=TOLERANCE_SECONDS))
        self.control = ControlPlane(parts.api, parts.system, parts.redis, parts.tenant, self.clock, self.ledger)
        self.servers: list[Server] = []
        self.late: list[tuple[Server, list[DeliveryEvent]]] = []
        self.run(self._begin(sends, far))

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.run(self._drain())
        finally:
            for server in self.servers:
                server.close()
            shutil.rmtree(self.folder)

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.parts.runner.run(step)

    # ------------------------------------------------------------ the tenant

    @rule(number=which, address=addresses, priority=st.sampled_from([1, 1, 0, 2]), wait=st.sampled_from([0, 0, 400]))
    def accept(self, number: int, address: str, priority: int, wait: int) -> None:
        if self.control.inboxes and len(self.ledger.accepted) < _MOST:
            inbox = pick(self.control.inboxes, number)
            key = f"request {len(self.ledger.accepted)}"
            self.run(self.control.accept(inbox, address, priority, timedelta(seconds=wait), key))

    @rule(number=which)
    def suppress(self, number: int) -> None:
        self.run(self.control.suppress(pick(_ADDRESSES[:2], number)))

    @rule(number=which, limit=st.none() | st.integers(0, 5))
    def limit_or_suspend(self, number: int, limit: int | None) -> None:
        """Set an inbox's limit, or suspend the tenant or let it go on."""
        if limit is None:
            self.run(self.control.suspend(is_active=not self.ledger.tenant_is_active))
        elif self.control.inboxes:
            self.run(self.control.limit(pick(self.control.inboxes, number), limit))

    @precondition(lambda self: self.control.inboxes)
    @rule(number=which)
    def remove_inbox(self, number: int) -> None:
        """Begin a removal, or end it."""
        inbox = pick(self.control.inboxes, number)
        if inbox in self.ledger.ready:
            self.run(self.control.remove_inbox(inbox))
        else:
            self.run(self.control.forget_inbox(inbox))

    # ------------------------------------------------------------ the queuer, Redis and time

    @rule(room=st.sampled_from([1, 2, _ALL]), dies=st.booleans())
    def claim(self, room: int, *, dies: bool) -> None:
        """Lease and commit; the queuer that dies then has written nothing."""
        self.run(self.control.claim(room))
        if dies:
            self.control.unwritten.clear()

    @rule()
    def claim_side_by_side(self) -> None:
        self.run(self.control.claim_side_by_side(self.parts.queuers, _ALL))

    @precondition(lambda self: self.control.unwritten)
    @rule(count=st.sampled_from([1, _ALL]))
    def write(self, count: int) -> None:
        self.run(self.control.write(count))

    @rule(forgets=st.booleans())
    def refill(self, *, forgets: bool) -> None:
        """Look whether the streams are whole, it may be after Redis has forgotten all."""
        self.run(self._refill(forgets=forgets))

    @rule(by=seconds, reclaims=st.booleans())
    def time_passes(self, by: int, *, reclaims: bool) -> None:
        self.run(self._pass_time(by, reclaims=reclaims))

    @rule(off=skews)
    def database_clock_is_set(self, off: int) -> None:
        """Set it ahead, back, or right."""
        self.run(self.clock.set_database_off(timedelta(seconds=off)))

    # ------------------------------------------------------------ a server

    @rule(number=which, dies=st.sampled_from(["", "", "", "early", "late"]))
    def take(self, number: int, dies: str) -> None:
        self.run(self._take(pick(self.servers, number), dies))

    @precondition(lambda self: self.held(Phase.WAITING))
    @rule(number=which, treatment=st.none() | treatments)
    def submit(self, number: int, treatment: Treatment | None) -> None:
        """Make a send ready, and write its message unless there is no time for it yet."""
        server, send_id = pick(self.held(Phase.WAITING), number)
        self.run(server.begin(send_id))
        if treatment and send_id in server.in_phase(Phase.BEGUN):
            self.run(server.hand_over(send_id, treatment))

    @precondition(lambda self: self.held(Phase.BEGUN))
    @rule(number=which, treatment=treatments)
    def hand_over(self, number: int, treatment: Treatment) -> None:
        server, send_id = pick(self.held(Phase.BEGUN), number)
        self.run(server.hand_over(send_id, treatment))

    @precondition(lambda self: self.held(Phase.ANSWERED))
    @rule(number=which)
    def conclude(self, number: int) -> None:
        server, send_id = pick(self.held(Phase.ANSWERED), number)
        self.run(server.conclude(send_id))

    @precondition(lambda self: self.held(Phase.CUT))
    @rule(number=which, gives_up=st.booleans())
    def settle(self, number: int, *, gives_up: bool) -> None:
        server, send_id = pick(self.held(Phase.CUT), number)
        self.run(server.settle(send_id, gives_up=gives_up))

    @rule(number=which)
    def agent_dies(self, number: int) -> None:
        self.run(pick(self.servers, number).crash())

    @rule(number=which, skew=skews)
    def server_clock_jumps(self, number: int, skew: int) -> None:
        """Jump, and let the relay look at what is overdue by that clock."""
        server = pick(self.servers, number)
        server.skew_seconds = skew
        self.run(server.end_overdue())

    @rule(number=which)
    def server_forgets_what_is_old(self, number: int) -> None:
        """Keep house, by whatever that server's clock shows."""
        self.run(pick(self.servers, number).journal.forget_old())

    @precondition(lambda self: self.queued())
    @rule(number=which, outcome=st.sampled_from(Outcome))
    def postfix_tries(self, number: int, outcome: Outcome) -> None:
        server, queue_id = pick(self.queued(), number)
        server.postfix.attempt(queue_id, outcome, server.now_ms())

    @precondition(lambda self: self.queued())
    @rule(number=which)
    def postfix_delivers_unsaid(self, number: int) -> None:
        """Its master is told to end meanwhile, and the line is lost."""
        server, queue_id = pick(self.queued(), number)
        server.postfix.deliver_unsaid(queue_id)

    @rule(number=which)
    def look_in_queue(self, number: int) -> None:
        self.run(pick(self.servers, number).look_in_queue())

    @precondition(lambda self: self.unread())
    @rule(number=which, lines=st.sampled_from([1, 2, _ALL]))
    def follow_log(self, number: int, lines: int) -> None:
        self.run(pick(self.unread(), number).follow_log(lines))

    @precondition(lambda self: self.unread())
    @rule(number=which)
    def lose_log(self, number: int) -> None:
        self.run(pick(self.unread(), number).lose_log())

    # ------------------------------------------------------------ the link

    @rule(number=which, limit=st.integers(1, 4), arrives=st.booleans(), confirmed=st.booleans())
    def tell(self, number: int, limit: int, *, arrives: bool, confirmed: bool) -> None:
        """Send the oldest events; what does not arrive now may still arrive, late and beside others."""
        self.run(self._tell(pick(self.servers, number), limit, arrives=arrives, confirmed=confirmed))

    @precondition(lambda self: self.late)
    @rule(number=which)
    def late_batch_arrives(self, number: int) -> None:
        server, batch = pick(self.late, number)
        self.run(self.control.apply(server.vps_id, batch))

    # ------------------------------------------------------------ what must hold

    @invariant()
    def promises(self) -> None:
        if self.servers:
            self.run(self._check())

    def held(self, phase: Phase) -> list[tuple[Server, bytes]]:
        return [(server, send_id) for server in self.servers for send_id in server.in_phase(phase)]

    def queued(self) -> list[tuple[Server, str]]:
        return [(server, queue_id) for server in self.servers for queue_id in server.postfix.queue]

    def unread(self) -> list[Server]:
        return [server for server in self.servers if server.unread_lines]

    async def _begin(self, sends: int, far: int) -> None:
        await self.clock.set(START)
        await self.control.begin(self.parts.vps_ids, _LIMIT)
        await self.control.refill()
        for vps_id in self.parts.vps_ids:
            path = self.folder / f"{vps_id}.sqlite"
            self.servers.append(Server(self.parts.redis, vps_id, path, lambda: self.clock.now))
        for number in range(sends):
            address = pick(_ADDRESSES, number)
            await self.control.accept(self.control.inboxes[0], address, 1, timedelta(0), f"request {number}")
        if far > 0:
            await self._go_round()
        if far > 1:
            await self._take(self.servers[0])
        if far > 2:
            for send_id in self.servers[0].in_phase(Phase.WAITING):
                await self.servers[0].begin(send_id)
                await self.servers[0].hand_over(send_id, Treatment.TAKEN)

    async def _go_round(self) -> None:
        await self.control.claim(_ALL)
        await self.control.write(_ALL)

    async def _refill(self, *, forgets: bool) -> None:
        if forgets:
            await self.parts.redis.flushall()
        await self.control.refill()

    async def _pass_time(self, by: int, *, reclaims: bool) -> None:
        await self.clock.advance(timedelta(seconds=by))
        if reclaims:
            await self.control.reclaim()
            await self.control.sweep()

    async def _take(self, server: Server, dies: str = "") -> None:
        """Read all streams: first what was read and not acknowledged, then what is new."""
        for priority in _PRIORITIES:
            await server.take(priority, dies=dies)
            await server.take(priority)

    async def _tell(self, server: Server, limit: int, *, arrives: bool, confirmed: bool) -> None:
        batch = await server.unconfirmed(limit)
        if not arrives:
            self.late.append((server, batch))
            return
        told = await self.control.apply(server.vps_id, batch) if batch else EventsConfirmed()
        if confirmed:
            await server.journal.confirm(told.event_ids, told.closed_send_ids)

    async def _check(self) -> None:
        self.ledger.check(await self.control.rows(), [server.postfix for server in self.servers])
        for server in self.servers:
            for envelope in server.seen:
                send_id, token = uuid.UUID(bytes=envelope.send_id), uuid.UUID(bytes=envelope.lease_token)
                assert self.ledger.knows_lease(send_id, token, envelope.lease_deadline_ms)
            server.seen.clear()

    # ------------------------------------------------------------ the end of all faults

    async def _drain(self) -> None:
        await self.clock.set_database_off(timedelta(0))
        for server in self.servers:
            server.skew_seconds = 0
            await server.crash()
        for server, batch in self.late:
            await self.control.apply(server.vps_id, batch)
        self.control.unwritten.clear()
        await self.control.suspend(is_active=True)
        for inbox_id in self.control.inboxes:
            await self.control.limit(inbox_id, _ALL)
        for wait in _WAITS:
            await self._drain_once()
            await self._check()
            if all(row.state in FINAL for row in (await self.control.rows()).values()):
                break
            await self.clock.advance(wait)
        self.ledger.check_all_ended(await self.control.rows())

    async def _drain_once(self) -> None:
        await self.control.reclaim()
        await self.control.sweep()
        await self.control.refill()
        await self._go_round()
        for server in self.servers:
            await self._take(server)
            await self._serve(server)
            while await server.unconfirmed():
                await self._tell(server, 500, arrives=True, confirmed=True)

    async def _serve(self, server: Server) -> None:
        server.postfix.finish_sessions(server.now_ms())
        server.postfix.log_late()
        for send_id in server.in_phase(Phase.CUT):
            await server.settle(send_id, gives_up=True)
        for send_id in server.in_phase(Phase.WAITING):
            await server.begin(send_id)
        for send_id in server.in_phase(Phase.BEGUN):
            await server.hand_over(send_id, Treatment.TAKEN)
        for send_id in server.in_phase(Phase.ANSWERED):
            await server.conclude(send_id)
        for queue_id in list(server.postfix.queue):
            server.postfix.attempt(queue_id, Outcome.SENT, server.now_ms())
        await server.follow_log(len(server.postfix.log))


def pick(among: Sequence[T], number: int) -> T:
    """Return one of them, whichever number was drawn."""
    return among[number % len(among)]
