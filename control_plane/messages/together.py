"""Accept single sends together: those that come while others are being committed share the next transaction.

A transaction costs several round trips and a flush; with one for each request it is most of what a request costs. So
requests wait in lanes, and a lane's requests are accepted in one transaction with one result for each. Nothing waits
for company: a request that finds its lane idle has a transaction opened at once. What comes until that is open goes
with it, and what comes later is gathered for the next one, which under load is as much as the database can use.

A lane is one API key, or one session of a person. Its transactions are therefore of one tenant, under whose row-level
security they run, opened by one caller, who is verified in each of them: a key that was revoked is refused at once, and
one that is not true shares nothing with one that is.

So many may wait and no more, of all tenants together. A tenant may have as many waiting as places are left: alone it
gets half of them, and however many tenants send all they can, as many places are left for the next as each of them has.

A request fails by itself. What one does to the whole transaction, because the database refuses its row, makes each of
them go alone. When the database is away all of a transaction fail, and nobody can say then whether it was committed.
A client that leaves before its request's turn takes it along; after that its send is accepted like the others.
"""

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from control_plane.clock import Clock
from control_plane.errors import PenguinError, Unavailable
from control_plane.messages.accept import WantedSend, accept_sends
from control_plane.messages.send_request import AcceptedSend
from control_plane.telemetry.traces import ACCEPTED, tracer_for
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import PresentedCaller, scope_of
from db.session import Database

#: Requests in one transaction, which is then open for some milliseconds.
MAX_TOGETHER = 100

#: Transactions of one lane at once: while one waits for its commit, the next composes.
LANE_TRANSACTIONS = 2

#: Requests that wait for their turn, of all tenants; at the speed of one process, a second's.
MAX_WAITING = 2000

#: What is about all requests of a transaction and not about one: the key, or the database.
_SHARED = (PenguinError, psycopg.OperationalError, psycopg.InterfaceError, SQLAlchemyError)

_Outcome = AcceptedSend | PenguinError


@dataclass(slots=True)
class _Waiting:
    wanted: WantedSend
    answer: asyncio.Future[AcceptedSend]
    alone: bool = False


@dataclass(slots=True)
class _Lane:
    presented: PresentedCaller
    waiting: deque[_Waiting] = field(default_factory=deque)
    running: int = 0
    #: A transaction is being opened that will take those who wait.
    opening: bool = False

    def take(self) -> list[_Waiting]:
        """Return whose turn it is: those in front, or one that must go alone; nobody whose client has left."""
        self.opening = False
        group: list[_Waiting] = []
        while self.waiting and len(group) < MAX_TOGETHER and not (group and self.waiting[0].alone):
            each = self.waiting.popleft()
            if not each.answer.done():
                group.append(each)
                if each.alone:
                    break
        return group


class _Places:
    """Who waits, by tenants."""

    def __init__(self) -> None:
        self._taken: Counter[uuid.UUID] = Counter()
        self._all = 0

    @contextmanager
    def one_for(self, tenant_id: uuid.UUID) -> Iterator[None]:
        """Take a place and give it back; raise `Unavailable` for a tenant that has as many as are left, or more."""
        if self._taken[tenant_id] >= MAX_WAITING - self._all:
            raise Unavailable("Too many requests are waiting; nothing was changed.", retry_after=1)
        self._taken[tenant_id] += 1
        self._all += 1
        try:
            yield
        finally:
            self._all -= 1
            self._taken[tenant_id] -= 1
            if not self._taken[tenant_id]:
                del self._taken[tenant_id]


class AcceptsTogether:
    """One for a process; `database` is that of the API role."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lanes: dict[PresentedCaller, _Lane] = {}
        self._running: set[asyncio.Task[list[_Outcome]]] = set()
        self._places = _Places()

    async def accept(self, presented: PresentedCaller, wanted: WantedSend) -> AcceptedSend:
        """Return the send once it is committed, or the one that its idempotency key stands for.

        Raises what `accept_sends` tells of it, `Unauthenticated` and `Forbidden` for the key, and `Unavailable` when
        too many of the tenant's wait.
        """
        with self._places.one_for(presented.tenant_id):
            waiting = _Waiting(wanted, asyncio.get_running_loop().create_future())
            lane = self._lanes.setdefault(presented, _Lane(presented))
            lane.waiting.append(waiting)
            self._start(lane)
            came_ns = time.time_ns()
            accepted = await waiting.answer
        if tracer := tracer_for(accepted.id):
            tracer.tell(accepted.id, ACCEPTED, came_ns)
        return accepted

    def _start(self, lane: _Lane) -> None:
        if lane.waiting and not lane.opening and lane.running < LANE_TRANSACTIONS:
            lane.opening = True
            lane.running += 1
            group: list[_Waiting] = []
            task = asyncio.create_task(self._commit(lane, group))
            self._running.add(task)
            task.add_done_callback(partial(self._finish, lane, group))
        if not lane.running and not lane.waiting:
            self._lanes.pop(lane.presented, None)

    async def _commit(self, lane: _Lane, group: list[_Waiting]) -> list[_Outcome]:
        """Do one transaction, for those who wait when it is open; they are put into `group`."""
        async with self._database.tenant_connection(lane.presented.tenant_id) as connection:
            scope = await scope_of(connection, lane.presented, self._clock)
            scope.require(Permission.SEND_MESSAGES)
            group += lane.take()
            self._start(lane)
            return await accept_sends(connection, scope, [each.wanted for each in group])

    def _finish(self, lane: _Lane, group: list[_Waiting], task: asyncio.Task[list[_Outcome]]) -> None:
        self._running.discard(task)
        lane.running -= 1
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            for each, outcome in zip(group, task.result(), strict=True):
                _give(each, outcome)
        elif len(group) > 1 and not isinstance(error, (*_SHARED, asyncio.CancelledError)):
            lane.waiting.extendleft(_Waiting(each.wanted, each.answer, alone=True) for each in reversed(group))
        else:
            # Without a group it was not opened, for anybody.
            for each in group or lane.take():
                _give(each, error)
        self._start(lane)


def _give(waiting: _Waiting, outcome: AcceptedSend | BaseException) -> None:
    if waiting.answer.done():
        return
    if isinstance(outcome, BaseException):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)
