"""Make tenants and their workspaces; for operators, in transactions of the system role."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from db.models import Tenant


async def create_tenant(session: AsyncSession, name: str) -> uuid.UUID:
    """Insert a tenant and return its id."""
    created = await session.execute(text("INSERT INTO tenants (name) VALUES (:name) RETURNING id"), {"name": name})
    tenant_id: uuid.UUID = created.scalar_one()
    return tenant_id


async def create_workspace(session: AsyncSession, tenant_id: uuid.UUID, name: str) -> uuid.UUID:
    """Insert a workspace of the tenant and return its id; raise `NotFound` when there is no such tenant."""
    created = await session.execute(
        text(
            "INSERT INTO workspaces (tenant_id, name) SELECT id, :name FROM tenants WHERE id = :tenant_id RETURNING id"
        ),
        {"tenant_id": tenant_id, "name": name},
    )
    workspace_id: uuid.UUID | None = created.scalar_one_or_none()
    if workspace_id is None:
        raise NotFound(f"There is no tenant {tenant_id}.")
    return workspace_id


async def require_tenant(session: AsyncSession, tenant_id: uuid.UUID) -> None:
    """Raise `NotFound` unless there is such a tenant."""
    if await session.get(Tenant, tenant_id) is None:
        raise NotFound(f"there is no tenant {tenant_id}")
