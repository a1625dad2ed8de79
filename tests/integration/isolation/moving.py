"""What tests of tenants that move have in common: all that a tenant has, and sends that go on meanwhile."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.delivery.apply import apply_events
from control_plane.identity.api_keys import parse_api_key
from control_plane.messages.accept import WantedSend
from control_plane.messages.send_request import SendRequest
from control_plane.messages.together import AcceptsTogether
from control_plane.queuer.allot import Line
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.statements import claim
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from tests.integration.mail_rows import SomeInbox

_DIGEST = """
SELECT count(*), md5(coalesce(string_agg(row, ' ' ORDER BY row), ''))
FROM (SELECT (to_jsonb(t) - 'isolated')::text AS row FROM {} t WHERE tenant_id = :tenant) rows
"""
_PLACES = text("""
SELECT tableoid::regclass::text FROM messages WHERE tenant_id = :tenant
UNION SELECT tableoid::regclass::text FROM message_events WHERE tenant_id = :tenant
""")
SHARED = {"messages_shared", "message_events_shared"}


async def digests(database: Database, tenant_id: uuid.UUID) -> list[tuple[int, str]]:
    """Return a count and a hash of a tenant's sends, and of their events, wherever they lie."""
    async with database.system() as session:
        return [
            tuple((await session.execute(text(_DIGEST.format(table)), {"tenant": tenant_id})).one())
            for table in ("messages", "message_events")
        ]


async def places(database: Database, tenant_id: uuid.UUID) -> set[str]:
    """Return the partitions in which a tenant has rows."""
    async with database.system() as session:
        return set(await session.scalars(_PLACES, {"tenant": tenant_id}))


def own(tenant_id: uuid.UUID) -> set[str]:
    """Return a tenant's own partitions."""
    return {f"tenant_{tenant_id.hex}.{table}" for table in ("messages", "message_events")}


def told(send: LeasedSend, kind: DeliveryEvent.Kind.ValueType) -> DeliveryEvent:
    """Return what a server tells of a send."""
    return DeliveryEvent(
        event_id=uuid.uuid4().bytes,
        send_id=send.id.bytes,
        lease_token=send.lease_token.bytes,
        at_ms=int(datetime.now(UTC).timestamp() * 1000),
        kind=kind,
        queue_id="4cYx1",
    )


async def settle(database: Database, inbox: SomeInbox, room: int = 1000) -> list[uuid.UUID]:
    """Claim what waits and have its server tell that it was delivered; return whose that was."""
    sends = await claim(database, {Line(inbox.vps_id, 1): room}, 300)
    kinds = (DeliveryEvent.KIND_RELAYED, DeliveryEvent.KIND_DELIVERED)
    await apply_events(database, inbox.vps_id, [told(send, kind) for send in sends for kind in kinds])
    return [send.id for send in sends]


@dataclass(slots=True)
class Traffic:
    """Sends of one tenant that are accepted, claimed and settled, one after the other, until it is told to stop."""

    api: Database
    system: Database
    inbox: SomeInbox
    accepted: list[uuid.UUID] = field(default_factory=list)
    settled: list[uuid.UUID] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def accept(self) -> None:
        """Accept sends; whatever is not accepted fails the test."""
        accepting, key = AcceptsTogether(self.api, utc_now), parse_api_key(self.inbox.tenant.api_key)
        wanted = WantedSend(self.inbox.id, SendRequest("anna@example.net", "Fish", "Herring"))
        while not self.stopping.is_set():
            accepted = await asyncio.gather(*(accepting.accept(key, wanted) for _ in range(3)))
            self.accepted += [send.id for send in accepted]

    async def deliver(self) -> None:
        """Claim and settle some at a time, as servers do, and in the end what is left."""
        settled: list[uuid.UUID] = []
        while settled or not self.stopping.is_set():
            settled = await settle(self.system, self.inbox, 20)
            self.settled += settled


@asynccontextmanager
async def going_on(*streams: Traffic) -> AsyncIterator[None]:
    """Have the tenants send meanwhile, and settle all of it at the end."""
    accepting = [asyncio.create_task(each.accept()) for each in streams]
    delivering = [asyncio.create_task(each.deliver()) for each in streams]
    yield
    for each in streams:
        each.stopping.set()
    await asyncio.gather(*accepting)
    await asyncio.gather(*delivering)
    for each in streams:
        each.settled += await settle(each.system, each.inbox)
