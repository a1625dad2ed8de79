"""Who sends by which address: the pool decides (choice.py), and a run for each inbox that moves carries it out.

SPF must list an address before it is sent from, so an inbox is not bound when its pool changes, but when its run has
seen the domain's SPF record (provisioning/steps/bind_sender.py).
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.runs import start_run
from control_plane.pools.choice import address_for
from control_plane.pools.states import AddressState

#: The kind of run that binds one inbox; its subject is the row in `inbox_senders`.
BIND_RUN = "inbox.bind_sender"

_POOL = text(
    "SELECT pool_name, address_id, state FROM inbox_pool_addresses WHERE tenant_id = :tenant AND inbox_id = :inbox"
)
_BOUND = text(
    "SELECT b.address_id, host(a.address) AS address FROM sender_bindings b"
    " JOIN server_addresses a ON a.tenant_id = b.tenant_id AND a.id = b.address_id"
    " WHERE b.tenant_id = :tenant AND b.inbox_id = :inbox AND b.until IS NULL"
)
_UNBIND = text(
    "UPDATE sender_bindings SET until = now() WHERE tenant_id = :tenant AND inbox_id = :inbox AND until IS NULL"
    " AND address_id IS DISTINCT FROM :address"
)
_BIND = text(
    "INSERT INTO sender_bindings (tenant_id, inbox_id, address_id) VALUES (:tenant, :inbox, :address)"
    " ON CONFLICT (inbox_id) WHERE until IS NULL DO NOTHING"
)
_SENDER = text(
    "INSERT INTO inbox_senders (tenant_id, inbox_id) VALUES (:tenant, :inbox)"
    " ON CONFLICT (inbox_id) DO UPDATE SET pool_id = inbox_senders.pool_id RETURNING id"
)
_INBOXES = text(
    "SELECT i.id FROM inboxes i WHERE i.tenant_id = :tenant AND i.status <> 'deleting' AND ("
    " EXISTS (SELECT FROM inbox_pool_addresses p WHERE p.tenant_id = :tenant AND p.inbox_id = i.id"
    "         AND p.pool_id = ANY(:pools))"
    " OR EXISTS (SELECT FROM sender_bindings b WHERE b.tenant_id = :tenant AND b.inbox_id = i.id AND b.until IS NULL"
    "            AND b.address_id IN (SELECT m.address_id FROM ip_pool_addresses m"
    "                                 WHERE m.tenant_id = :tenant AND m.pool_id = ANY(:pools) AND m.left_at IS NULL)))"
    " ORDER BY i.id"
)

_AT = text(
    "SELECT inbox_id FROM inbox_pool_addresses WHERE tenant_id = :tenant AND address_id = :address ORDER BY inbox_id"
)
_BOUND_TO = text(
    "SELECT inbox_id FROM sender_bindings WHERE tenant_id = :tenant AND address_id = :address AND until IS NULL"
    " ORDER BY inbox_id"
)


@dataclass(frozen=True, slots=True)
class Sending:
    """How an inbox sends: its pool's name, the address it is bound to, the one it should be, and what is amiss.

    None stands for no pool, and for the server's own address.
    """

    pool: str | None
    bound_to: uuid.UUID | None
    address: str | None
    wanted: uuid.UUID | None

    @property
    def warning(self) -> str | None:
        """Why it does not send as its pool says, in a sentence."""
        if self.pool is not None and self.wanted is None:
            return f"The pool {self.pool} has no ready address on the inbox's server: it sends from the server's own."
        if self.wanted != self.bound_to:
            return "It changes to another address as soon as its domain's SPF record lists that one."
        return None


async def load_sending(session: AsyncSession, tenant_id: uuid.UUID, inbox_id: uuid.UUID) -> Sending:
    """Return how the inbox sends, and should."""
    key = {"tenant": tenant_id, "inbox": inbox_id}
    rows = (await session.execute(_POOL, key)).all()
    bound = (await session.execute(_BOUND, key)).one_or_none()
    ready = [row.address_id for row in rows if row.state == AddressState.READY]
    return Sending(
        pool=rows[0].pool_name if rows else None,
        bound_to=bound.address_id if bound else None,
        address=bound.address if bound else None,
        wanted=address_for(inbox_id, ready),
    )


async def inboxes_of(session: AsyncSession, tenant_id: uuid.UUID, pools: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Return the inboxes that send through one of the pools, or are bound to an address in one."""
    rows = await session.scalars(_INBOXES, {"tenant": tenant_id, "pools": list(pools)})
    return list(rows)


async def inboxes_at(session: AsyncSession, tenant_id: uuid.UUID, address_id: uuid.UUID) -> list[uuid.UUID]:
    """Return the inboxes that may send by the address, as far as their pools are concerned."""
    return list(await session.scalars(_AT, {"tenant": tenant_id, "address": address_id}))


async def bound_to(session: AsyncSession, tenant_id: uuid.UUID, address_id: uuid.UUID) -> list[uuid.UUID]:
    """Return the inboxes that send by the address now."""
    return list(await session.scalars(_BOUND_TO, {"tenant": tenant_id, "address": address_id}))


async def start_bindings(session: AsyncSession, tenant_id: uuid.UUID, inboxes: Collection[uuid.UUID]) -> int:
    """Start a run for each of the inboxes that does not send as it should; return how many."""
    started = 0
    for inbox_id in inboxes:
        sending = await load_sending(session, tenant_id, inbox_id)
        if sending.wanted != sending.bound_to:
            subject = await sender_row(session, tenant_id, inbox_id)
            await start_run(session, tenant_id, BIND_RUN, subject)
            started += 1
    return started


async def sender_row(session: AsyncSession, tenant_id: uuid.UUID, inbox_id: uuid.UUID) -> uuid.UUID:
    """Return the id of the inbox's row in `inbox_senders`, made when there is none."""
    sender_id: uuid.UUID = (await session.execute(_SENDER, {"tenant": tenant_id, "inbox": inbox_id})).scalar_one()
    return sender_id


async def bind(session: AsyncSession, tenant_id: uuid.UUID, inbox_id: uuid.UUID, address_id: uuid.UUID | None) -> None:
    """Note that the inbox sends by the address from now on, or with None by its server's own; system role."""
    row = {"tenant": tenant_id, "inbox": inbox_id, "address": address_id}
    await session.execute(_UNBIND, row)
    if address_id is not None:
        await session.execute(_BIND, row)
