"""One mail server's relay, log follower and journal, between a real Redis and a Postfix that behaves.

A life is the agent from start to stop or crash. A crash is a kill at a chosen commit, just before or just after it: the
journal is left as the disk has it, nobody is told anything, and all sockets close, as the kernel closes them.
"""

import asyncio
import base64
import contextlib
import dataclasses
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from redis.asyncio import Redis

from agent.journal import Journal, NowMs, wall_ms
from agent.journal.clock import this_boot
from agent.journal.schema import connect
from agent.journal.writer import Writer, _Job
from agent.maillog.follow import MailLog
from agent.relay.relay import Relay
from agent.uplink.latest import Latest
from control_plane.queuer import keys
from control_plane.queuer.access import grant
from control_plane.queuer.streams import make_groups
from protos.agent.v1.configuration_pb2 import DesiredState, DkimKey, MailDomain, MailServer
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from protos.agent.v1.link_pb2 import QueueAccess
from protos.queue.v1.envelope_pb2 import Envelope
from tests.fakes.postfix import FakePostfix

Kind = DeliveryEvent.Kind
SIGNING_KEY = rsa.generate_private_key(65537, 2048)
PEM = SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
DKIM_RECORD = b"v=DKIM1; k=rsa; p=" + base64.b64encode(
    SIGNING_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)
#: Seconds for anything that a test waits for.
PATIENCE = 20.0


def desired_state(domain: str = "example.test") -> DesiredState:
    key = DkimKey(selector="pm1", private_key_pem=PEM, active=True)
    return DesiredState(version=1, server=MailServer(domains=[MailDomain(name=domain, dkim_keys=[key])]))


def make_envelope(number: int = 0, *, lease_seconds: float = 60.0, send_id: uuid.UUID | None = None) -> Envelope:
    send_id = send_id or uuid.uuid4()
    message = (
        f"From: ann@example.test\r\nTo: bob{number}@example.org\r\nMessage-ID: <{send_id}@example.test>\r\n"
        f"Subject: {number}\r\n\r\n.Tea at four?\r\n"
    )
    return Envelope(
        send_id=send_id.bytes,
        lease_token=uuid.uuid4().bytes,
        lease_deadline_ms=int((time.time() + lease_seconds) * 1000),
        envelope_sender="ann@example.test",
        recipient=f"bob{number}@example.org",
        message=message.encode(),
        signing_domain="example.test",
        lease_number=1,
    )


def leased_again(envelope: Envelope, lease_seconds: float = 120.0) -> Envelope:
    again = Envelope()
    again.CopyFrom(envelope)
    again.lease_token = uuid.uuid4().bytes
    again.lease_number += 1
    again.lease_deadline_ms = int((time.time() + lease_seconds) * 1000)
    return again


class _Killed(Exception):
    """The process is gone."""


class MortalWriter(Writer):
    """A writer that dies at the commit with this number, before or after it."""

    def __init__(self, path: Path, dies_at: int | None, *, after: bool) -> None:
        self.died = asyncio.Event()
        self.buried = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._left = dies_at
        self._after = after
        super().__init__(connect(path))

    def _run(self) -> None:
        with contextlib.suppress(_Killed):
            super()._run()

    def _commit_or_isolate(self, group: Sequence["_Job[object]"]) -> None:
        if self._left == 0:
            if self._after:
                super()._commit_or_isolate(group)
            self._loop.call_soon_threadsafe(self.died.set)
            self.buried.wait(PATIENCE)
            raise _Killed
        if self._left is not None:
            self._left -= 1
        super()._commit_or_isolate(group)


@dataclasses.dataclass
class Life:
    journal: Journal
    relay: Relay
    died: asyncio.Event

    async def until_in_hand(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.journal.counts()).in_hand != count:  # noqa: ASYNC110 - the journal announces no counts
                await asyncio.sleep(0.02)


class Server:
    """What outlives the agent: its disk, its Postfix, its streams, and what the control plane was told."""

    def __init__(self, directory: Path, redis: Redis, endpoint: str, ca_pem: bytes, postfix: FakePostfix) -> None:
        self.vps_id = uuid.uuid4()
        self.redis = redis
        self.postfix = postfix
        self.told: list[DeliveryEvent] = []
        self.access: Latest[QueueAccess] = Latest()
        self.applied: Latest[DesiredState] = Latest()
        self.applied.set(desired_state())
        self.access_requests = 0
        self.queue: frozenset[str] | None = frozenset()
        self.listings = 0
        #: The server's clocks; a test may set the one and let time pass by the other.
        self.wall: NowMs = wall_ms
        self.boot = this_boot()
        self.journal_path = directory / "journal.sqlite3"
        self.mail_log = postfix.log
        self._endpoint = endpoint
        self._ca_pem = ca_pem
        self._heard = asyncio.Condition()
        self._requests: list[asyncio.Future[None]] = []

    async def open_queue(self) -> None:
        await make_groups(self.redis, self.vps_id)
        await self.grant()

    async def grant(self) -> None:
        [access] = await grant(self.redis, [self.vps_id], self._endpoint, self._ca_pem)
        self.access.set(access)

    async def enqueue(self, *envelopes: Envelope, priority: int = 1) -> None:
        for envelope in envelopes:
            await self.redis.xadd(keys.stream(self.vps_id, priority), {keys.FIELD: envelope.SerializeToString()})

    def now_ms(self) -> int:
        """The server's wall clock."""
        return self.wall()

    async def queued_among(self, queue_ids: Collection[str]) -> frozenset[str] | None:
        """What Postfix says of its queue; `queue` is what it has there, None while it does not answer."""
        self.listings += 1
        return None if self.queue is None else self.queue.intersection(queue_ids)

    def hide_log(self) -> Path:
        """Let Postfix write its log to where the agent does not look; return that place."""
        self.postfix.log = self.mail_log.with_name("hidden.log")
        return self.postfix.log

    async def left_in_queue(self) -> int:
        return sum([await self.redis.xlen(name) for name in keys.streams(self.vps_id)])

    @contextlib.asynccontextmanager
    async def life(self, dies_at: int | None = None, *, after: bool = False) -> AsyncIterator[Life]:
        """The agent, until the end of the block; whoever sees `died` should leave it."""
        writer = MortalWriter(self.journal_path, dies_at, after=after)
        journal = Journal(writer, self.now_ms, self.boot, self.journal_path.parent)
        relay = Relay(
            journal,
            self.access,
            self.applied,
            self._request_access,
            queued_among=self.queued_among,
            injection_port=self.postfix.port,
            now_ms=self.now_ms,
        )
        mail_log = MailLog(journal, self.mail_log)
        task = asyncio.ensure_future(_all(relay.run(), mail_log.run(), self._drain(journal)))
        try:
            yield Life(journal, relay, writer.died)
        finally:
            task.cancel()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            writer.buried.set()
            journal.close()
            if isinstance(outcome, Exception):
                raise outcome

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for what the control plane is told, or the agent asks of it."""
        async with asyncio.timeout(PATIENCE), self._heard:
            await self._heard.wait_for(happened)

    async def until_told(self, kind: "Kind.ValueType", *envelopes: Envelope) -> None:
        """Wait until the control plane was told this of all these sends."""
        wanted = {envelope.send_id for envelope in envelopes}
        await self.until(lambda: wanted <= {event.send_id for event in self.told if event.kind == kind})

    def kinds(self, envelope: Envelope) -> list[str]:
        """What was told of a send under this lease, in order, each event once."""
        events = {
            event.event_id: Kind.Name(event.kind).removeprefix("KIND_").lower()
            for event in self.told
            if event.send_id == envelope.send_id and event.lease_token == envelope.lease_token
        }
        return list(events.values())

    def submissions(self) -> Counter[bytes]:
        """How often Postfix accepted each send, by Message-ID."""
        return Counter(self.postfix.sends())

    def _request_access(self) -> None:
        self.access_requests += 1
        self._requests.append(asyncio.ensure_future(self._announce()))

    async def _announce(self) -> None:
        async with self._heard:
            self._heard.notify_all()

    async def _drain(self, journal: Journal) -> None:
        while True:
            journal.events_added.clear()
            events = await journal.unconfirmed(100)
            if not events:
                await journal.events_added.wait()
                continue
            self.told += events
            await self._announce()
            await journal.confirm([event.event_id for event in events])


async def _all(*runs: Coroutine[None, None, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for run in runs:
            tasks.create_task(run)


def message_id(envelope: Envelope) -> bytes:
    return f"<{uuid.UUID(bytes=envelope.send_id)}@example.test>".encode()
