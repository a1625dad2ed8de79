"""Workspaces as their tenant sees and changes them.

One that was deleted is kept, out of sight: what was sent from it and what it paid for still name it.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.tenancy.scope import TenantScope
from db.models import Workspace

_PRESENT = "FROM workspaces WHERE tenant_id = :tenant_id AND id = :id AND deleted_at IS NULL"
_EXISTS = text(f"SELECT EXISTS (SELECT {_PRESENT})")
# Held until the transaction ends: nobody deletes the workspace while something is put into it.
_HOLD = text(f"SELECT id {_PRESENT} FOR KEY SHARE")
_DELETE = text("UPDATE workspaces SET deleted_at = now() WHERE tenant_id = :tenant_id AND id = :id")
_HELD_BY = {
    "servers": "SELECT EXISTS (SELECT FROM vps_servers WHERE tenant_id = :tenant_id AND workspace_id = :id"
    " AND status <> 'deleted')",
    "inboxes": "SELECT EXISTS (SELECT FROM inboxes WHERE tenant_id = :tenant_id AND workspace_id = :id)",
    "domains": "SELECT EXISTS (SELECT FROM domains WHERE tenant_id = :tenant_id AND workspace_id = :id AND kept)",
    "IP pools": "SELECT EXISTS (SELECT FROM ip_pools WHERE tenant_id = :tenant_id AND workspace_id = :id"
    " AND deleted_at IS NULL)",
    "webhooks": "SELECT EXISTS (SELECT FROM webhook_endpoints WHERE tenant_id = :tenant_id AND workspace_id = :id"
    " AND deleted_at IS NULL)",
    "members": "SELECT EXISTS (SELECT FROM memberships WHERE tenant_id = :tenant_id AND :id = ANY (workspaces)"
    " AND ended_at IS NULL)",
    "API keys": "SELECT EXISTS (SELECT FROM api_keys WHERE tenant_id = :tenant_id AND :id = ANY (workspaces)"
    " AND revoked_at IS NULL)",
}


async def require_workspace(
    session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, *, hold: bool = False
) -> None:
    """Raise `NotFound` unless the tenant has this workspace; with `hold` it is there until the transaction ends."""
    if not await session.scalar(_HOLD if hold else _EXISTS, {"tenant_id": scope.tenant_id, "id": workspace_id}):
        raise NotFound("There is no such workspace.")


async def chosen_workspaces(
    session: AsyncSession, scope: TenantScope, asked: frozenset[uuid.UUID] | None
) -> frozenset[uuid.UUID] | None:
    """Return the workspaces that somebody is let into: those asked for, or as much as the caller is there for.

    Raises `NotFound` for one that the caller does not see. Each is there until the transaction ends.
    """
    for workspace_id in sorted(asked or ()):
        await require_workspace(session, scope, workspace_id, hold=True)
    return asked or scope.workspaces


async def list_workspaces(
    session: AsyncSession, scope: TenantScope, after: uuid.UUID | None, limit: int
) -> Sequence[Workspace]:
    """Return the tenant's workspaces in the order of their ids, from the one after `after`."""
    query = select(Workspace).where(Workspace.tenant_id == scope.tenant_id, Workspace.deleted_at.is_(None))
    if after is not None:
        query = query.where(Workspace.id > after)
    return (await session.scalars(query.order_by(Workspace.id).limit(limit))).all()


async def load_workspace(
    session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, *, lock: bool = False
) -> Workspace:
    """Return a workspace, locked when asked against what would be put into it; raise `NotFound`."""
    query = select(Workspace).where(
        Workspace.tenant_id == scope.tenant_id, Workspace.id == workspace_id, Workspace.deleted_at.is_(None)
    )
    found = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound("There is no such workspace.")
    return found


async def add_workspace(session: AsyncSession, scope: TenantScope, name: str) -> Workspace:
    """Insert a workspace and return it."""
    made = await session.scalars(insert(Workspace).values(tenant_id=scope.tenant_id, name=name).returning(Workspace))
    return made.one()


async def rename_workspace(session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, name: str) -> Workspace:
    """Give a workspace another name; raise `NotFound`."""
    workspace = await load_workspace(session, scope, workspace_id)
    workspace.name = name
    await session.flush()
    return workspace


async def delete_workspace(session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID) -> None:
    """Delete a workspace; raise `NotFound`, and `Conflict` while there is something in it."""
    await load_workspace(session, scope, workspace_id, lock=True)
    key = {"tenant_id": scope.tenant_id, "id": workspace_id}
    if held := [what for what, asked in _HELD_BY.items() if await session.scalar(text(asked), key)]:
        raise Conflict(f"The workspace has {' and '.join(held)}; remove these first.")
    await session.execute(_DELETE, key)
