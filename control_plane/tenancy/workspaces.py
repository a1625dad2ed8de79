"""Workspaces as their tenant sees them."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.tenancy.scope import TenantScope

_EXISTS = text("SELECT EXISTS (SELECT FROM workspaces WHERE tenant_id = :tenant_id AND id = :id)")


async def require_workspace(session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID) -> None:
    """Raise `NotFound` unless the tenant has this workspace."""
    if not await session.scalar(_EXISTS, {"tenant_id": scope.tenant_id, "id": workspace_id}):
        raise NotFound("There is no such workspace.")
