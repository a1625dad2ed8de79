"""The control plane of the model: the product's own functions, each step a call, with what they leave in between."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from redis.asyncio import Redis
from sqlalchemy import text

from control_plane.delivery.apply import apply_events
from control_plane.delivery.states import State
from control_plane.errors import Conflict
from control_plane.inboxes.change import begin_removal, change_inbox
from control_plane.messages.accept import WantedSend, accept_sends
from control_plane.messages.cancel import cancel_waiting_sends
from control_plane.messages.send_request import AcceptedSend, Idempotency, Priority, SendRequest
from control_plane.queuer import statements
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.refill import Refill
from control_plane.queuer.streams import write
from control_plane.queuer.sweep import Sweep
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent, EventsConfirmed
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox
from tests.integration.send_life.clock import ModelClock
from tests.integration.send_life.ledger import Ledger, Row

LEASE_SECONDS = 300
TOLERANCE_SECONDS = 30

_FORGET_ALL = (
    "DELETE FROM pipeline_runs",
    "DELETE FROM idempotency_keys",
    "DELETE FROM messages",
    "DELETE FROM suppressions",
    "DELETE FROM inboxes",
    "DELETE FROM domains",
    "UPDATE tenants SET state = 'active'",
)
_ROWS = text(
    "SELECT id, inbox_id, vps_id, state, state_reason, recipient, send_at, lease_token, lease_deadline, queue_id,"
    " final_at FROM messages"
)
_EVENTS = text("SELECT event_id, message_id, lease_token, applied FROM message_events")
_TENANT = text("UPDATE tenants SET state = :state")
_SUPPRESS = text(
    "INSERT INTO suppressions (tenant_id, address, reason) VALUES (:tenant, lower(:address), 'asked')"
    " ON CONFLICT DO NOTHING"
)
_FORGET_INBOX = text("DELETE FROM inboxes WHERE id = :inbox AND status = 'deleting'")


@dataclass(slots=True)
class ControlPlane:
    """Drives the real statements, and tells the ledger."""

    api: Database
    system: Database
    redis: Redis
    tenant: SomeTenant
    clock: ModelClock
    ledger: Ledger
    inboxes: list[uuid.UUID] = field(default_factory=list)
    #: Leased, committed, and not written to Redis yet.
    unwritten: list[LeasedSend] = field(default_factory=list)

    @property
    def scope(self) -> TenantScope:
        return TenantScope(self.tenant.id, EVERYTHING)

    async def begin(self, vps_ids: Sequence[uuid.UUID], limit: int) -> None:
        """Forget what was before; then each server has one inbox."""
        async with self.system.system() as session:
            for statement in _FORGET_ALL:
                await session.execute(text(statement))
        await self.redis.flushall()
        for vps_id in vps_ids:
            inbox = await make_inbox(self.system, self.tenant, vps_id, limit=limit)
            self.inboxes.append(inbox.id)
            self.ledger.limits[inbox.id] = limit
            self.ledger.ready.add(inbox.id)

    # ------------------------------------------------------------ the tenant

    async def accept(self, inbox_id: uuid.UUID, to: str, priority: int, wait: timedelta, key: str) -> None:
        """Accept a send twice under one key, as a client would that missed the first answer."""
        request = SendRequest(
            to=to, subject="Fish", text="Herring.", priority=Priority(priority), send_at=self.clock.now + wait
        )
        wanted = WantedSend(inbox_id, request, Idempotency(key, bytes(32)))
        ids = set()
        for _ in range(2):
            async with self.api.tenant_connection(self.tenant.id) as connection:
                [sent] = await accept_sends(connection, self.scope, [wanted])
            if isinstance(sent, Conflict):
                assert inbox_id not in self.ledger.ready
                return
            assert isinstance(sent, AcceptedSend), sent
            ids.add(sent.id)
        [send_id] = ids
        self.ledger.accepted[send_id] = inbox_id

    async def suppress(self, address: str) -> None:
        async with self.system.system() as session:
            await session.execute(_SUPPRESS, {"tenant": self.tenant.id, "address": address})
        self.ledger.suppressed.add(address.lower())

    async def suspend(self, *, is_active: bool) -> None:
        async with self.system.system() as session:
            await session.execute(_TENANT, {"state": "active" if is_active else "suspended"})
        self.ledger.tenant_is_active = is_active

    async def limit(self, inbox_id: uuid.UUID, limit: int) -> None:
        if inbox_id in self.ledger.ready:
            async with self.api.tenant(self.tenant.id) as session:
                await change_inbox(session, self.scope, inbox_id, {"daily_send_limit": limit})
            self.ledger.limits[inbox_id] = limit

    async def remove_inbox(self, inbox_id: uuid.UUID) -> None:
        """Remove as the REST door does."""
        async with self.api.tenant(self.tenant.id) as session:
            await begin_removal(session, self.scope, inbox_id)
            await cancel_waiting_sends(session, self.scope, inbox_id, "The inbox was removed.")
        self.ledger.ready.discard(inbox_id)

    async def forget_inbox(self, inbox_id: uuid.UUID) -> None:
        """Delete the row of an inbox that is being removed, as the pipeline's last step does."""
        async with self.system.system() as session:
            await session.execute(_FORGET_INBOX, {"inbox": inbox_id})
        self.inboxes.remove(inbox_id)

    # ------------------------------------------------------------ the queuer

    async def claim(self, room: int) -> None:
        """Lease, and commit."""
        await self._claimed([await self._claim(self.system, room)])

    async def claim_side_by_side(self, queuers: Sequence[Database], room: int) -> None:
        """Have several queuers lease everything at the same moment."""
        await self._claimed(await asyncio.gather(*(self._claim(queuer, room) for queuer in queuers)))

    async def write(self, count: int) -> None:
        """Write envelopes of what is leased, the newest first, however late that is."""
        due, self.unwritten = self.unwritten[-count:], self.unwritten[:-count]
        assert await write(self.redis, due) == []

    async def refill(self) -> None:
        """Make the streams whole, as a queuer does that has just begun."""
        await Refill(self.system, self.redis, self.clock.seconds).look_at_all()

    async def reclaim(self) -> None:
        while await statements.reclaim(self.system, TOLERANCE_SECONDS):
            pass

    async def sweep(self) -> None:
        """End what nobody will ever tell of."""
        await Sweep(self.system).look_at_all()

    # ------------------------------------------------------------ the hub

    async def apply(self, vps_id: uuid.UUID, events: Sequence[DeliveryEvent]) -> EventsConfirmed:
        """Apply a batch; what is told under an old lease must change nothing."""
        before = await self.rows()
        confirmed = await apply_events(self.system, vps_id, events)
        after = await self.rows()
        assert list(confirmed.event_ids) == [event.event_id for event in events]
        current = {row.id.bytes for row in before.values()} & {
            event.send_id for event in events if _is_current(before, event)
        }
        for send_id, row in after.items():
            assert send_id.bytes in current or row == before[send_id], "an old lease changed it"
        await self._check_events(before, events)
        for event in events:
            if event.kind == DeliveryEvent.KIND_LEASE_EXPIRED:
                self.ledger.given_back(uuid.UUID(bytes=event.send_id), uuid.UUID(bytes=event.lease_token))
        return confirmed

    async def rows(self) -> dict[uuid.UUID, Row]:
        """Return all sends."""
        async with self.system.system() as session:
            found = (await session.execute(_ROWS)).mappings().all()
        return {row["id"]: Row(**{**row, "state": State(row["state"])}) for row in found}

    async def _claim(self, database: Database, room: int) -> list[LeasedSend]:
        lines = await statements.waiting_lines(database)
        return await statements.claim(database, dict.fromkeys(lines, room), LEASE_SECONDS) if lines else []

    async def _claimed(self, batches: Sequence[Sequence[LeasedSend]]) -> None:
        leased = sorted((send for batch in batches for send in batch), key=lambda send: send.id)
        self.ledger.claimed(leased, await self.rows(), self.clock.database_now, self.clock.latest)
        self.unwritten += leased

    async def _check_events(self, before: dict[uuid.UUID, Row], events: Sequence[DeliveryEvent]) -> None:
        async with self.system.system() as session:
            recorded = {row.event_id.bytes: row for row in await session.execute(_EVENTS)}
        for event in events:
            row = recorded[event.event_id]
            assert row.message_id.bytes == event.send_id
            assert row.lease_token.bytes == event.lease_token


def _is_current(before: dict[uuid.UUID, Row], event: DeliveryEvent) -> bool:
    token = before[uuid.UUID(bytes=event.send_id)].lease_token
    return token is not None and token.bytes == event.lease_token
