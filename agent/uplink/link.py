"""The agent's only road home: enrols when it must, then keeps one stream to the hub over mutual TLS.

The agent calls, so it works from behind NAT and opens no port. Each connection is made anew with the certificate on
the disk, so a renewed one counts at once. What the control plane answers decides what happens next (reasons.py); while
it is away the agent waits with growing, jittered pauses, and everything else on the server goes on.

SECURITY: the hub is checked against the authorities that came with the enrolment. Messages carry secrets (queue
password, DKIM keys); they are handed on and never logged.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc.aio

from agent.identity.enrol import enrol
from agent.identity.key import key_pem, load_key
from agent.identity.starting import CertificateState, Found, Start, decide, look
from agent.identity.store import IdentityStore
from agent.identity.tls import open_channel
from agent.settings import Settings, SettingsError, read_join
from agent.supervisor import StopForGood
from agent.uplink.backoff import Backoff
from agent.uplink.clock import Clock, skew_seconds, utc_now
from agent.uplink.command_queue import CommandQueue
from agent.uplink.events import EventDrain, EventSpool
from agent.uplink.latest import Latest
from agent.uplink.outbound import Outbound
from agent.uplink.reasons import EXIT_BANNED, EXIT_NOT_ENROLLED, Reaction, on_enrolment, on_link
from agent.uplink.renewal import renew_when_due
from agent.uplink.session import LinkEnded, Session
from log_lines.lines import be_server
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.configuration_pb2 import DesiredState
from protos.agent.v1.link_pb2 import AgentMessage, Hello, HubMessage, Pong, QueueAccess, QueueAccessRequest, Welcome

logger = logging.getLogger(__name__)

#: Seconds between health reports until the hub says otherwise.
DEFAULT_REPORT_INTERVAL = 15.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Uplink:
    """What comes from the hub is in `queue_access`, `desired_state` and `commands`; `send` takes what goes there."""

    def __init__(
        self,
        settings: Settings,
        spool: EventSpool,
        agent_version: str,
        *,
        clock: Clock = utc_now,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.queue_access: Latest[QueueAccess] = Latest()
        self.desired_state: Latest[DesiredState] = Latest()
        self.commands = CommandQueue()
        self.report_interval = DEFAULT_REPORT_INTERVAL
        self.connected = False
        #: Set once the link is up, or the control plane was found away, for the first time.
        self.first_tried = asyncio.Event()
        self._settings = settings
        self._store = IdentityStore(settings.identity_dir)
        self._agent_version = agent_version
        self._clock = clock
        self._draw = draw
        self._backoff = Backoff(draw)
        self._outbound = Outbound()
        self._drain = EventDrain(spool, self._outbound.put)
        self._certificate_refused = False
        self._reason = ""
        self._greeted_at = clock()

    def send(self, message: AgentMessage) -> None:
        """Leave a message for the hub; of each kind only the newest waits."""
        self._outbound.put(message)

    def request_queue_access(self) -> None:
        """Ask the hub for new Redis credentials."""
        self.send(AgentMessage(queue_access_request=QueueAccessRequest()))

    async def run(self, applied_version: Callable[[], int]) -> None:
        """Keep the link for as long as the control plane wants this server.

        `applied_version` returns the desired-state version applied last. Raises `StopForGood` when trying again cannot
        help.
        """
        while True:
            pause = await self._advance(applied_version)
            await asyncio.sleep(pause)

    async def _advance(self, applied_version: Callable[[], int]) -> float:
        """Do what the situation asks and return the seconds to wait after it."""
        decision = decide(self._situation())
        if decision.reason != self._reason:
            self._reason = decision.reason
            logger.info("identity decision=%s reason=%r", decision.start.value, decision.reason)
        match decision.start:
            case Start.STOP:
                raise StopForGood(decision.reason, EXIT_NOT_ENROLLED)
            case Start.ENROL:
                return await self._enrol()
            case Start.CONNECT:
                return await self._connect(applied_version)

    def _situation(self) -> Found:
        found = look(self._store, join_token=self._has_join_token(), now=self._clock())
        if self._certificate_refused:
            return Found(found.key, CertificateState.REFUSED, found.join_token)
        return found

    def _has_join_token(self) -> bool:
        try:
            return read_join(self._settings.join_file).join_token is not None
        except SettingsError as error:
            logger.warning("join file unreadable reason=%r", str(error))
            return False

    async def _enrol(self) -> float:
        try:
            enrolment = await enrol(self._settings, self._store, self._agent_version)
        except grpc.aio.AioRpcError as error:
            if on_enrolment(error.code()) is Reaction.STOP:
                raise StopForGood(f"enrolment was refused: {error.details()}", EXIT_NOT_ENROLLED) from error
            return self._pause("enrolment failed", error.code(), error.details())
        self._certificate_refused = False
        self._backoff.reset()
        logger.info("enrolled vps_id=%s link_endpoint=%s", enrolment.vps_id, enrolment.link_endpoint)
        return 0.0

    async def _connect(self, applied_version: Callable[[], int]) -> float:
        enrolment = self._store.load()
        be_server(enrolment.vps_id)
        private_key = key_pem(load_key(self._store.key_file))
        channel = open_channel(enrolment.link_endpoint, enrolment.ca_pem, private_key, enrolment.certificate_pem)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with channel:
                await self._talk(channel, applied_version)
        except LinkEnded as ended:
            self._backoff.held(loop.time() - started)
            return self._after(ended)
        finally:
            self.connected = False
        return 0.0

    async def _talk(self, channel: grpc.aio.Channel, applied_version: Callable[[], int]) -> None:
        # Welcome brings fresh queue access, and the drain starts over: what waits of these is stale.
        self._outbound.drop("queue_access_request")
        self._outbound.drop("delivery_events")
        self._outbound.drop("pong")

        session = Session(
            channel,
            self._outbound,
            welcomed=self._welcomed,
            received=self._received,
            beside=(self._drain.run, partial(renew_when_due, channel, self._store, self._clock, self._draw)),
        )
        await session.run(lambda: self._hello(applied_version()))

    def _after(self, ended: LinkEnded) -> float:
        match on_link(ended.code):
            case Reaction.STOP:
                raise StopForGood(f"the hub refuses this server: {ended}", EXIT_BANNED) from ended
            case Reaction.ENROL_AGAIN:
                logger.warning("certificate refused details=%r", str(ended))
                self._certificate_refused = True
                return 0.0
            case Reaction.BACK_OFF:
                return self._pause("link down", ended.code, str(ended))

    def _pause(self, what: str, code: grpc.StatusCode, details: str | None) -> float:
        self.first_tried.set()
        pause = self._backoff.failed()
        logger.warning("%s code=%s details=%r pause_seconds=%.1f", what, code.name, details, pause)
        return pause

    def _hello(self, applied_version: int) -> Hello:
        self._greeted_at = self._clock()
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        return Hello(agent_version=self._agent_version, applied_version=applied_version, boot_id=boot_id)

    def _take(self, command: Command) -> None:
        if not self.commands.put(command):
            refused = CommandResult.OUTCOME_REFUSED
            result = CommandResult(id=command.id, outcome=refused, detail="too many commands are waiting here")
            self.send(AgentMessage(command_result=result))

    def _welcomed(self, welcome: Welcome) -> None:
        skew = skew_seconds(self._greeted_at, self._clock(), welcome.hub_time_ms)
        logger.info("link up skew_seconds=%.3f", skew)
        self.connected = True
        self.first_tried.set()
        if welcome.report_interval_seconds > 0:
            self.report_interval = welcome.report_interval_seconds
        self._backoff.spread = welcome.return_spread_seconds
        if welcome.HasField("queue_access"):
            self.queue_access.set(welcome.queue_access)

    async def _received(self, message: HubMessage) -> None:
        match message.WhichOneof("body"):
            case "desired_state":
                self.desired_state.set(message.desired_state)
            case "queue_access":
                self.queue_access.set(message.queue_access)
            case "command":
                self._take(message.command)
            case "events_confirmed":
                confirmed = message.events_confirmed
                await self._drain.confirmed(confirmed.event_ids, confirmed.closed_send_ids)
            case "ping":
                self.send(AgentMessage(pong=Pong(nonce=message.ping.nonce)))
            case "welcome":
                self._welcomed(message.welcome)
            case None:
                logger.warning("the hub sent a message of a kind that this version does not know")
