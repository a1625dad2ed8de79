"""What is said on one link, and what is done about it.

The agent tells how it is, what became of configurations and of sends; the hub tells what the server should be, confirms
events once they are committed, and gives access to the queue. While PostgreSQL is away, what the agent said waits here
unconfirmed and the link stays. A server that is banned, or whose certificate is revoked, is cut off with its next
report, or at once when the hub is notified.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock, utc_now
from control_plane.delivery.apply import apply_events
from control_plane.enrolment.certificates import revoke_certificates
from control_plane.errors import Conflict, InvalidInput, Unavailable
from control_plane.fleet.clock_offset import ClockOffset
from control_plane.fleet.commands import outcome_of, record_command_result, take_commands
from control_plane.fleet.desired import load_desired_state
from control_plane.fleet.links import Opening, note_clone
from control_plane.fleet.reports import record_configuration_result, report_row
from control_plane.hub.batches import Batches, Entered, Entrance, KeptReport
from control_plane.hub.inflating import MOST_INFLATED, inflated
from control_plane.hub.returning import Returning
from control_plane.hub.session import Session
from control_plane.monitoring.samples import value_rows
from control_plane.sealing import SealBroken, Sealer
from control_plane.telemetry.instruments import COMMANDS_ANSWERED, COMMANDS_SENT, REPORTS
from db.notifications import DATABASE_AWAY
from db.session import Database
from db.undisturbed import undisturbed
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.configuration_pb2 import CertificateAuthority, ConfigurationResult, DesiredState
from protos.agent.v1.delivery_pb2 import DeliveryEvents
from protos.agent.v1.link_pb2 import AgentMessage, Hello, HubMessage, QueueAccess, Welcome
from protos.agent.v1.telemetry_pb2 import HealthReport

_AWAY_SECONDS = 1.0
#: Links that are in the database at once each for itself, and not by the batches. A fleet that comes for its
#: configurations wants thousands; to wait before a connection is asked for costs a link little memory.
_MOST_TRANSACTIONS = 8

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resources:
    """What every conversation needs."""

    database: Database
    batches: Batches
    returning: Returning
    sealer: Sealer
    #: Gives a server's agent access to its queue; raises `Unavailable`.
    grant_queue_access: Callable[[uuid.UUID], Awaitable[QueueAccess]]
    nameservers: tuple[str, ...]
    report_interval_seconds: float
    #: Who issues servers' certificates, if anybody.
    authority: CertificateAuthority | None = None
    #: Whose firewalls keep port 80 shut until it is wanted.
    acme_port_providers: frozenset[str] = frozenset()
    clock: Clock = utc_now
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_TRANSACTIONS))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction for one link, when it is its turn."""
        async with self._places, self.database.system() as session:
            yield session


class Conversation:
    """Talks on one session's link."""

    def __init__(self, resources: Resources, session: Session) -> None:
        self._resources = resources
        self._session = session
        #: The newest desired state that the agent has, or was sent.
        self._sent_version = 0
        self._clock_offset = ClockOffset()

    async def open(self, hello: Hello) -> None:
        """Record the link and welcome the agent. Raises `Unauthenticated`, `Forbidden` and one of `DATABASE_AWAY`."""
        session = self._session
        entered = await undisturbed(self._record(hello))
        self._sent_version = hello.applied_version
        # A fleet that comes back has what it should have: looking once more would double what each link asks.
        if entered.versions.desired > hello.applied_version:
            session.look_again.call()
        if entered.has_commands:
            session.commands_waiting.call()
        welcome = Welcome(
            hub_time_ms=int(self._resources.clock().timestamp() * 1000),
            report_interval_seconds=self._resources.report_interval_seconds,
            return_spread_seconds=self._resources.returning.spread_seconds,
            most_inflated_bytes=MOST_INFLATED,
        )
        try:
            welcome.queue_access.CopyFrom(await self._resources.grant_queue_access(session.vps_id))
        except Unavailable:
            session.queue_access.call()
        await session.send(HubMessage(welcome=welcome))

    async def close(self) -> None:
        """Record that the link is gone; while that cannot be done, silence tells it too."""
        try:
            await undisturbed(self._resources.batches.closings.serve((self._session.vps_id, self._session.id)))
        except DATABASE_AWAY as error:
            _log.warning("the end of the link of %s is not recorded: %s", self._session.vps_id, type(error).__name__)

    async def listen(self, read: Callable[[], Awaitable[object]]) -> None:
        """Act on each message that is read until the agent says no more. Raises `InvalidInput` and `Forbidden`."""
        while await self._hear_next(read):
            pass

    async def tell_desired_state(self) -> None:
        """Send the desired state if it is newer than what the agent has. Raises `Forbidden`."""
        state = await _through_outages(self._newer_desired_state)
        if state:
            await self._session.send(HubMessage(desired_state=state))
            self._sent_version = state.version

    async def grant_queue_access(self) -> None:
        """Give the agent access to its queue, as soon as Redis is there."""
        while True:
            try:
                access = await self._resources.grant_queue_access(self._session.vps_id)
            except Unavailable:
                await asyncio.sleep(_AWAY_SECONDS)
            else:
                await self._session.send(HubMessage(queue_access=access))
                return

    async def pass_commands_on(self) -> None:
        """Send the server's commands, each once: it is recorded as sent before. Raises `Forbidden`."""
        while commands := await _through_outages(self._take_commands):
            for command in commands:
                COMMANDS_SENT.labels(command.WhichOneof("deed")).inc()
                await self._session.send(HubMessage(command=command))

    async def _record(self, hello: Hello) -> Entered:
        session = self._session
        opening = Opening(session.vps_id, session.id, hello.agent_version)
        entered = await self._resources.batches.openings.serve(Entrance(session.caller, opening))
        session.opened_at_us = entered.versions.opened_at_us
        if hello.applied_version > entered.versions.applied:
            # The result was lost with the link that it was sent on.
            await self._keep_result(_applied(hello.applied_version))
        return entered

    async def _hear_next(self, read: Callable[[], Awaitable[object]]) -> bool:
        """Act on the next message, which nothing holds after that; return whether there was one."""
        message = await read()
        if not isinstance(message, AgentMessage):
            return False
        await self._hear(inflated(message))
        return True

    async def _hear(self, message: AgentMessage) -> None:
        match message.WhichOneof("body"):
            case "health":
                await self._keep_report(message.health)
                REPORTS.inc()
            case "configuration_result":
                await _through_outages(lambda: self._keep_result(message.configuration_result))
            case "delivery_events":
                await self._apply(message.delivery_events)
            case "command_result":
                await _through_outages(lambda: self._keep_command_result(message.command_result))
                COMMANDS_ANSWERED.labels(outcome_of(message.command_result)).inc()
            case "pong":
                if self._session.is_answer(message.pong.nonce):
                    await _through_outages(self._cut_clones)
            case "queue_access_request":
                self._session.queue_access.call()
            case None if message.ByteSize():
                # Of a newer release's words, which does without an answer to them while hubs are older.
                _log.debug("%s sent a message of a kind that this version does not know", self._session.vps_id)
            case _:
                raise InvalidInput("the link is open; there is nothing in this message that the hub acts on")

    async def _keep_report(self, report: HealthReport) -> None:
        now = self._resources.clock()
        offset_ms = self._clock_offset.measure(report.at_ms, now)
        vps_id = self._session.vps_id
        kept = KeptReport(
            self._session.caller,
            report_row(vps_id, self._session.id, _alone(report), offset_ms),
            value_rows(vps_id, report, now, offset_ms),
        )
        await _through_outages(lambda: self._resources.batches.reports.serve(kept))

    async def _cut_clones(self) -> None:
        vps_id = self._session.vps_id
        async with self._resources.transaction() as database:
            news = await note_clone(database, vps_id)
            await revoke_certificates(database, vps_id)
        if news:
            _log.error("two hold a link with the certificate of %s: both are cut", vps_id)

    async def _keep_result(self, result: ConfigurationResult) -> None:
        async with self._resources.transaction() as database:
            await record_configuration_result(database, self._session.vps_id, result)

    async def _take_commands(self) -> list[Command]:
        if not (await self._resources.batches.looks.serve(self._session.caller)).has_commands:
            return []
        async with self._resources.transaction() as database:
            return await take_commands(database, self._session.vps_id, self._session.id)

    async def _keep_command_result(self, result: CommandResult) -> None:
        async with self._resources.transaction() as database:
            await record_command_result(database, self._session.vps_id, result)

    async def _apply(self, events: DeliveryEvents) -> None:
        confirmed = await _through_outages(
            lambda: apply_events(self._resources.database, self._session.vps_id, events.events)
        )
        await self._session.send(HubMessage(events_confirmed=confirmed))

    async def _newer_desired_state(self) -> DesiredState | None:
        look = await self._resources.batches.looks.serve(self._session.caller)
        if look.desired_version <= self._sent_version:
            return None
        async with self._resources.transaction() as database:
            try:
                return await load_desired_state(
                    database,
                    self._session.vps_id,
                    self._resources.sealer,
                    self._resources.nameservers,
                    self._resources.authority,
                    acme_port_providers=self._resources.acme_port_providers,
                )
            except (Conflict, SealBroken) as unready:
                # Whoever mends it raises the version, and we are notified. Until then the link serves for the rest.
                _log.warning("%s is not told its desired state: %s", self._session.vps_id, unready)
                return None


def _alone(report: HealthReport) -> HealthReport:
    """Return the report without those from before that it brings along."""
    if not report.backlog:
        return report
    alone = HealthReport()
    alone.CopyFrom(report)
    alone.ClearField("backlog")
    return alone


def _applied(version: int) -> ConfigurationResult:
    outcome = ConfigurationResult.OUTCOME_APPLIED
    return ConfigurationResult(version=version, outcome=outcome, detail="said when it connected")


async def _through_outages(act: Callable[[], Awaitable[T]]) -> T:
    """Return what `act` returns, trying again for as long as PostgreSQL is away."""
    while True:
        try:
            return await undisturbed(act())
        except DATABASE_AWAY as error:
            _log.warning("waiting for the database: %s", type(error).__name__)
        await asyncio.sleep(_AWAY_SECONDS)
