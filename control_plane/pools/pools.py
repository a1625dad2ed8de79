"""A workspace's IP pools: named sets of its servers' addresses, and which inboxes send through which."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.pools.senders import inboxes_of, sender_row, start_bindings
from control_plane.tenancy.scope import TenantScope
from db.models import InboxSender, IpPool, IpPoolAddress, ServerAddress, VpsServer

_IN_USE = text("SELECT count(*) FROM inbox_senders WHERE tenant_id = :tenant AND pool_id = :pool")
_WORKSPACE = text(
    "SELECT id FROM inboxes WHERE tenant_id = :tenant AND workspace_id = :workspace AND status <> 'deleting'"
)


async def load_pool(session: AsyncSession, scope: TenantScope, pool_id: uuid.UUID, *, lock: bool = False) -> IpPool:
    """Return a pool; raise `NotFound`."""
    query = select(IpPool).where(IpPool.tenant_id == scope.tenant_id, IpPool.id == pool_id, IpPool.deleted_at.is_(None))
    pool = await session.scalar(query.with_for_update() if lock else query)
    if pool is None:
        raise NotFound("There is no such pool.")
    return pool


async def list_pools(
    session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> Sequence[IpPool]:
    """Return a workspace's pools in the order of their ids, from the one after `after`."""
    query = select(IpPool).where(*_of_workspace(scope, workspace_id)).order_by(IpPool.id).limit(limit)
    return (await session.scalars(query if after is None else query.where(IpPool.id > after))).all()


async def addresses_of(
    session: AsyncSession, scope: TenantScope, pool_ids: Collection[uuid.UUID]
) -> Mapping[uuid.UUID, Sequence[ServerAddress]]:
    """Return the addresses of each of the pools that has any."""
    query = (
        select(IpPoolAddress.pool_id, ServerAddress)
        .join(ServerAddress, IpPoolAddress.address_id == ServerAddress.id)
        .where(
            ServerAddress.tenant_id == scope.tenant_id,
            IpPoolAddress.pool_id.in_(pool_ids),
            IpPoolAddress.left_at.is_(None),
        )
    )
    found = defaultdict[uuid.UUID, list[ServerAddress]](list)
    for pool_id, address in await session.execute(query.order_by(ServerAddress.hostname)):
        found[pool_id].append(address)
    return found


async def create_pool(
    session: AsyncSession,
    scope: TenantScope,
    workspace_id: uuid.UUID,
    name: str,
    addresses: Collection[uuid.UUID],
    *,
    is_default: bool,
) -> IpPool:
    """Make a pool of these addresses; raise `Conflict` for a name in use and `InvalidInput` for strange addresses."""
    row = {"tenant_id": scope.tenant_id, "workspace_id": workspace_id, "name": name}
    statement = (
        insert(IpPool)
        .values(row)
        .on_conflict_do_nothing(index_elements=["workspace_id", "name"], index_where=IpPool.deleted_at.is_(None))
    )
    pool_id = await session.scalar(statement.returning(IpPool.id))
    if pool_id is None:
        raise Conflict(f"There is a pool {name} already.")
    if not addresses and not is_default:
        # Nobody sends through it: to look for inboxes would be most of the work.
        return await load_pool(session, scope, pool_id)
    return await change_pool(session, scope, pool_id, addresses=addresses, is_default=is_default)


async def change_pool(
    session: AsyncSession,
    scope: TenantScope,
    pool_id: uuid.UUID,
    *,
    name: str | None = None,
    addresses: Collection[uuid.UUID] | None = None,
    is_default: bool | None = None,
) -> IpPool:
    """Change what is given, and have its inboxes send accordingly. Raises as `create_pool`, and `NotFound`."""
    pool = await load_pool(session, scope, pool_id, lock=True)
    before = await inboxes_of(session, scope.tenant_id, [pool.id])
    if name is not None and name != pool.name:
        await _rename(session, scope, pool, name)
    if is_default is not None and is_default != pool.is_default:
        await _make_default(session, scope, pool, is_default=is_default)
        before += await session.scalars(_WORKSPACE, {"tenant": scope.tenant_id, "workspace": pool.workspace_id})
    if addresses is not None:
        await _set_addresses(session, scope, pool, set(addresses))
    after = await inboxes_of(session, scope.tenant_id, [pool.id])
    await start_bindings(session, scope.tenant_id, sorted({*before, *after}))
    return pool


async def delete_pool(session: AsyncSession, scope: TenantScope, pool_id: uuid.UUID) -> None:
    """Delete a pool; raise `Conflict` while inboxes name it. Those that had it by default send from their server's."""
    pool = await load_pool(session, scope, pool_id, lock=True)
    if named := await session.scalar(_IN_USE, {"tenant": scope.tenant_id, "pool": pool.id}):
        raise Conflict(f"{named} inboxes send through the pool; give them another first.")
    before = await inboxes_of(session, scope.tenant_id, [pool.id])
    await session.execute(
        update(IpPool)
        .where(IpPool.tenant_id == scope.tenant_id, IpPool.id == pool.id)
        .values(deleted_at=func.now(), is_default=False)
    )
    await start_bindings(session, scope.tenant_id, before)


async def assign_pool(
    session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, inbox_id: uuid.UUID, pool_id: uuid.UUID | None
) -> None:
    """Let an inbox send through a pool of its workspace, or with None through the workspace's own.

    Raises `InvalidInput` for a pool that is not there.
    """
    pools = select(IpPool.id).where(*_of_workspace(scope, workspace_id))
    if pool_id is not None and await session.scalar(pools.where(IpPool.id == pool_id)) is None:
        raise InvalidInput("The inbox's workspace has no such pool.", "/ip_pool_id")
    sender_id = await sender_row(session, scope.tenant_id, inbox_id)
    await session.execute(
        update(InboxSender)
        .where(InboxSender.tenant_id == scope.tenant_id, InboxSender.id == sender_id)
        .values(pool_id=pool_id)
    )
    await start_bindings(session, scope.tenant_id, [inbox_id])


async def _rename(session: AsyncSession, scope: TenantScope, pool: IpPool, name: str) -> None:
    named = select(IpPool.id).where(*_of_workspace(scope, pool.workspace_id), IpPool.name == name)
    if await session.scalar(named) is not None:
        raise Conflict(f"There is a pool {name} already.")
    pool.name = name
    await session.flush()


async def _make_default(session: AsyncSession, scope: TenantScope, pool: IpPool, *, is_default: bool) -> None:
    await session.execute(
        update(IpPool)
        .where(IpPool.tenant_id == scope.tenant_id, IpPool.workspace_id == pool.workspace_id, IpPool.is_default)
        .values(is_default=False)
    )
    pool.is_default = is_default
    await session.flush()


async def _set_addresses(
    session: AsyncSession, scope: TenantScope, pool: IpPool, addresses: Collection[uuid.UUID]
) -> None:
    usable = await session.scalars(
        select(ServerAddress.id)
        .join(VpsServer, VpsServer.id == ServerAddress.vps_id)
        .where(
            ServerAddress.tenant_id == scope.tenant_id,
            VpsServer.workspace_id == pool.workspace_id,
            ServerAddress.state.in_(("requested", "ready", "draining")),
        )
    )
    if strange := set(addresses) - set(usable):
        raise InvalidInput(f"The workspace's servers have no address {min(strange)}.", "/address_ids")
    ours = (IpPoolAddress.tenant_id == scope.tenant_id, IpPoolAddress.pool_id == pool.id)
    leaving = update(IpPoolAddress).where(*ours, IpPoolAddress.address_id.not_in(addresses))
    await session.execute(leaving.where(IpPoolAddress.left_at.is_(None)).values(left_at=func.now()))
    rows = [{"tenant_id": scope.tenant_id, "pool_id": pool.id, "address_id": each} for each in sorted(addresses)]
    if rows:
        joining = insert(IpPoolAddress).values(rows)
        await session.execute(
            joining.on_conflict_do_update(index_elements=["pool_id", "address_id"], set_={"left_at": None})
        )


def _of_workspace(scope: TenantScope, workspace_id: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
    return (IpPool.tenant_id == scope.tenant_id, IpPool.workspace_id == workspace_id, IpPool.deleted_at.is_(None))
