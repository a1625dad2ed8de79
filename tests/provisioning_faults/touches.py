"""Where a worker touches the world, numbered; and the one place at which something happens to it.

The provider, the DNS host and the steps are wrapped, so that each call to them and each outcome of a step passes here,
before and after. A worker that is killed ends by an exception that nothing catches, as nothing does anything after
SIGKILL: no claim is given back, no transaction committed. One that is paused stands still until it is let go, which is
after others have done its work.
"""

import asyncio
import enum
import threading
import uuid
from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar
from unittest.mock import patch

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.plan import Blend, PlanRefused, PublisherUnavailable, ZonePlan
from control_plane.dns.publish import Publisher
from control_plane.dns.records import DnsRecord
from control_plane.fleet.commands import CommandState
from control_plane.pipelines.step import Done, Outcome, Result, Step, ceiling_of
from control_plane.providers.base import (
    JoinsServers,
    NeedsPerson,
    Provider,
    ProviderBusy,
    ProviderError,
    ProviderServer,
    RebuildsServers,
    ServerOrder,
)
from control_plane.providers.hostwinds.catalogue import Allowance
from control_plane.providers.hostwinds.orders import Orders
from control_plane.providers.hostwinds.provider import HostwindsProvider
from control_plane.provisioning import kept_mail
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.steps import keep_mail, rebuild_server
from protos.agent.v1.commands_pb2 import KeepMail

ResultT = TypeVar("ResultT")


class Killed(BaseException):
    """The worker is no more."""


class Blow(enum.StrEnum):
    """What happens at a touch."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    PAUSED_BEFORE = "paused before"
    PAUSED_AFTER = "paused after"
    #: The call is done and its answer does not arrive.
    LOST = "answer lost"
    #: The call is done and never returns: the step is broken off at its ceiling.
    HUNG = "hangs"
    BUSY = "busy"
    NEEDS_PERSON = "needs a person"
    REFUSED = "refused"
    #: An error that no adapter should let through.
    BROKEN = "broken"


#: Of a step's own touches, that are no calls.
OF_WORKERS = (Blow.KILLED_BEFORE, Blow.PAUSED_BEFORE)
#: Of a call that only looks: whatever comes after it comes before the next touch.
OF_LOOKS = (Blow.KILLED_BEFORE, Blow.BUSY, Blow.NEEDS_PERSON, Blow.REFUSED)
#: Of a call that changes something. A worker that is paused before it stands before its fence, a touch of its own; an
#: order can be paused between the two as well.
OF_ACTS = tuple(blow for blow in Blow if blow is not Blow.PAUSED_BEFORE)
OF_FENCES = (Blow.PAUSED_BEFORE,)
#: Of a command to the server, which is a row: what is paused before it stands before its hold, a touch of its own.
OF_COMMANDS = tuple(blow for blow in Blow if blow not in {Blow.PAUSED_BEFORE, Blow.NEEDS_PERSON})
_LOOKS = ("find", "plan the zone")
#: Of each step where one hangs.
_CEILING = timedelta(seconds=2)
_PAUSES = (Blow.PAUSED_BEFORE, Blow.PAUSED_AFTER)


@dataclass(frozen=True, slots=True)
class Touch:
    """One of them: its number in the life of a server, what it is, and what can happen there."""

    number: int
    what: str
    blows: tuple[Blow, ...]


@dataclass
class Touches:
    """Counts them, and strikes once; a dry run has no blow."""

    at: int = -1
    blow: Blow | None = None
    seen: list[Touch] = field(default_factory=list)
    counting: bool = True
    #: The step in hand.
    step: str = ""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _fallen: bool = False
    _let_go: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    @property
    def is_pause(self) -> bool:
        return self.blow in _PAUSES

    def let_go(self) -> None:
        """Let a paused worker go on."""
        self._let_go.set()

    def strike(self, what: str, blows: tuple[Blow, ...]) -> Blow | None:
        """Count a touch and return what happens at it."""
        if not self.counting:
            return None
        number = len(self.seen)
        self.seen.append(Touch(number, f"{self.step}: {what}", blows))
        # Blocks of mail go side by side, so that two touches may change places: then it falls where it can.
        if self._fallen or number < self.at or self.blow not in blows:
            return None
        self._fallen = True
        return self.blow

    def when_let_go(self, begin_before: float | None) -> float | None:
        """Return until when may be begun what is begun after the pause: it has run out then, as claims have."""
        return 0.0

    async def call(self, what: str, deed: Callable[[], Awaitable[ResultT]], busy: type[Exception]) -> ResultT:
        """Do what the wrapped thing does, with what happens before and after."""
        return await self.struck(self.strike(what, OF_LOOKS if what in _LOOKS else OF_ACTS), deed, busy)

    async def struck(self, blow: Blow | None, deed: Callable[[], Awaitable[ResultT]], busy: type[Exception]) -> ResultT:
        """Do it with that blow, which falls also where an answer is that it is not done yet."""
        await self.before(blow)
        refuse(blow, busy)
        try:
            result = await deed()
        except ProviderError:
            await self.after(blow)
            lose(blow, busy)
            raise
        await self.after(blow)
        lose(blow, busy)
        return result

    def call_in_thread(self, what: str, deed: Callable[[], ResultT], busy: type[Exception]) -> ResultT:
        """Do the same in a thread."""
        blow = self.strike(what, OF_LOOKS if what in _LOOKS else OF_ACTS)
        self._hit(blow, Blow.KILLED_BEFORE, Blow.PAUSED_BEFORE)
        refuse(blow, busy)
        result = deed()
        self._hit(blow, Blow.KILLED_AFTER, Blow.PAUSED_AFTER)
        if blow is Blow.HUNG:
            self._let_go.wait(60)
            raise Killed("nobody waits for it any more")
        lose(blow, busy)
        return result

    async def before(self, blow: Blow | None) -> None:
        if blow in {Blow.KILLED_BEFORE, Blow.PAUSED_BEFORE}:
            await asyncio.to_thread(self._hit, blow, Blow.KILLED_BEFORE, Blow.PAUSED_BEFORE)

    async def after(self, blow: Blow | None) -> None:
        if blow in {Blow.KILLED_AFTER, Blow.PAUSED_AFTER}:
            await asyncio.to_thread(self._hit, blow, Blow.KILLED_AFTER, Blow.PAUSED_AFTER)
        if blow is Blow.HUNG:
            await asyncio.Event().wait()

    def _hit(self, blow: Blow | None, kill: Blow, pause: Blow) -> None:
        if blow is kill:
            raise Killed(str(blow))
        if blow is pause:
            self._loop.call_soon_threadsafe(self.reached.set)
            if not self._let_go.wait(60):
                raise Killed("nobody let it go")


def refuse(blow: Blow | None, busy: type[Exception]) -> None:
    match blow:
        case Blow.BUSY:
            raise busy("come back later")
        case Blow.NEEDS_PERSON:
            raise NeedsPerson("the account has reached a limit") if busy is ProviderBusy else busy("away")
        case Blow.REFUSED:
            raise ProviderError("no") if busy is ProviderBusy else PlanRefused("no")
        case Blow.BROKEN:
            raise RuntimeError("something nobody thought of")


def lose(blow: Blow | None, busy: type[Exception]) -> None:
    if blow is Blow.LOST:
        raise busy("no answer came; it may have been done")


def touched(provider: Provider, touches: Touches) -> Provider:
    """Wrap a provider, with what it keeps of its own; what takes user-data needs no program run on its servers."""
    if isinstance(provider, HostwindsProvider):
        return TouchedJoiner(_with_touched_orders(provider, touches), touches)
    if isinstance(provider, RebuildsServers):
        return TouchedRebuilder(provider, touches)
    return TouchedProvider(provider, touches)


def _with_touched_orders(provider: HostwindsProvider, touches: Touches) -> HostwindsProvider:
    touched_one = copy(provider)
    if provider._orders is not None:
        vars(touched_one)["_orders"] = TouchedOrders(provider._orders, touches)
    return touched_one


class TouchedOrders(Orders):
    """Orders of which one may be written and never sent."""

    def __init__(self, inner: Orders, touches: Touches) -> None:
        vars(self).update(vars(inner))
        self._touches = touches

    async def place(self, name: str, monthly: Decimal, allowance: Allowance) -> uuid.UUID:
        attempt = await super().place(name, monthly, allowance)
        await self._touches.after(self._touches.strike("write the order", (Blow.KILLED_AFTER,)))
        return attempt


class TouchedProvider:
    """A provider whose calls are counted."""

    def __init__(self, inner: Provider, touches: Touches) -> None:
        self._inner = inner
        self._touches = touches
        self.key, self.sizes, self.regions = inner.key, inner.sizes, inner.regions
        self.capabilities = inner.capabilities

    async def create(self, order: ServerOrder) -> ProviderServer:
        blow = self._touches.strike("create", tuple(Blow))
        until = self._touches.when_let_go(order.begin_before) if blow is Blow.PAUSED_BEFORE else order.begin_before
        sent = replace(order, begin_before=until)
        return await self._touches.struck(blow, lambda: self._inner.create(sent), ProviderBusy)

    async def find(self, name: str) -> ProviderServer | None:
        return await self._touches.call("find", lambda: self._inner.find(name), ProviderBusy)

    async def delete(self, name: str) -> None:
        await self._touches.call("delete", lambda: self._inner.delete(name), ProviderBusy)

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        async def deed() -> None:
            await self._inner.set_reverse_dns(name, ipv4_address, hostname)

        await self._touches.call("set reverse DNS", deed, ProviderBusy)

    async def power_off(self, name: str) -> None:
        await self._touches.call("power off", lambda: self._inner.power_off(name), ProviderBusy)

    async def power_on(self, name: str) -> None:
        await self._touches.call("power on", lambda: self._inner.power_on(name), ProviderBusy)

    async def reboot(self, name: str) -> None:
        await self._touches.call("reboot", lambda: self._inner.reboot(name), ProviderBusy)


class TouchedRebuilder(TouchedProvider):
    """One that rebuilds servers."""

    def __init__(self, inner: Provider, touches: Touches) -> None:
        super().__init__(inner, touches)
        assert isinstance(inner, RebuildsServers)
        self._rebuilds = inner

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        blow = self._touches.strike("rebuild", tuple(Blow))
        until = self._touches.when_let_go(begin_before) if blow is Blow.PAUSED_BEFORE else begin_before

        async def deed() -> None:
            await self._rebuilds.rebuild(name, user_data, generation, until)

        await self._touches.struck(blow, deed, ProviderBusy)


class TouchedJoiner(TouchedRebuilder):
    """One that makes its servers join, too."""

    def __init__(self, inner: Provider, touches: Touches) -> None:
        super().__init__(inner, touches)
        assert isinstance(inner, JoinsServers)
        self._joins = inner

    async def start_joining(self, name: str, address: str, program: str) -> None:
        async def deed() -> None:
            await self._joins.start_joining(name, address, program)

        await self._touches.call("start joining", deed, ProviderBusy)


@dataclass(frozen=True)
class TouchedPublisher:
    """A DNS host whose calls are counted."""

    inner: Publisher
    touches: Touches

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        def deed() -> ZonePlan:
            return self.inner.plan(zone, wanted, written, blended)

        return self.touches.call_in_thread("plan the zone", deed, PublisherUnavailable)

    def apply(self, plan: ZonePlan) -> None:
        self.touches.call_in_thread("change the zone", lambda: self.inner.apply(plan), PublisherUnavailable)


@dataclass(frozen=True)
class TouchedStep:
    """A step whose beginning, outcome and record are counted."""

    inner: Step[StepContext]
    touches: Touches

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def patience(self) -> timedelta:
        return self.inner.patience

    @property
    def ceiling(self) -> timedelta:
        return _CEILING if self.touches.blow is Blow.HUNG else ceiling_of(self.inner)

    async def run(self, context: StepContext) -> Outcome:
        return await self._perform(self.name, self.inner.run, context)

    async def undo(self, context: StepContext) -> Outcome:
        return await self._perform(f"undo {self.name}", self.inner.undo, context)

    async def _perform(
        self, name: str, perform: Callable[[StepContext], Awaitable[Outcome]], context: StepContext
    ) -> Outcome:
        self.touches.step = name
        _IN_HAND.set(self.touches)
        await self.touches.before(self.touches.strike("begin", OF_WORKERS))
        run = replace(context.run, fence=self._fenced(context.run.fence), hold=self._held(context.run.hold))
        outcome = await perform(replace(context, run=run))
        await self.touches.before(self.touches.strike("record", OF_WORKERS))
        return replace(outcome, apply=self._recorded(outcome)) if isinstance(outcome, Done) else outcome

    def _fenced(self, fence: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def fenced() -> None:
            await self.touches.before(self.touches.strike("fence", OF_FENCES))
            await fence()

        return fenced

    def _held(self, hold: Callable[[AsyncSession], Awaitable[None]]) -> Callable[[AsyncSession], Awaitable[None]]:
        async def held(session: AsyncSession) -> None:
            await self.touches.before(self.touches.strike("hold", OF_FENCES))
            await hold(session)

        return held

    def _recorded(self, done: Done) -> Callable[[AsyncSession], Awaitable[Result | None]]:
        async def apply(session: AsyncSession) -> Result | None:
            result = await done.apply(session) if done.apply else None
            await self.touches.before(self.touches.strike("commit", (Blow.KILLED_BEFORE,)))
            return result

        return apply


_IN_HAND: ContextVar[Touches] = ContextVar("_IN_HAND")
_ASK = kept_mail.ask
#: What a server says that did nothing.
_ANSWERS = {Blow.BUSY: "failed", Blow.REFUSED: "refused"}


def touched_commands() -> list[Any]:
    """Return the patches that have each command about kept mail counted."""
    return [patch.object(module, "ask", _touched_ask) for module in (kept_mail, keep_mail, rebuild_server)]


async def _touched_ask(context: StepContext, step: KeepMail, life: timedelta) -> CommandState:
    touches, what = _IN_HAND.get(), step.WhichOneof("step")
    # Who refuses to run on does not know how to stop, either.
    blows = OF_COMMANDS if what != "discard" else tuple(blow for blow in OF_COMMANDS if blow is not Blow.REFUSED)
    blow = touches.strike(f"have the server {what}", blows)
    await touches.before(blow)
    if blow is Blow.BROKEN:
        raise RuntimeError("something nobody thought of")
    if blow in _ANSWERS:
        return CommandState(uuid.uuid4(), context.subject_id, "keep_mail", _ANSWERS[blow], "played", None, False, None)
    state = await _ASK(context, step, life)
    await touches.after(blow)
    return replace(state, state="unknown", output=None) if blow is Blow.LOST else state
