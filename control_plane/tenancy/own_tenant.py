"""A tenant as it sees itself."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.tenancy.scope import TenantScope
from db.models import Tenant


async def load_tenant(session: AsyncSession, scope: TenantScope) -> Tenant:
    """Return the caller's tenant; that there is one is what its caller was let in by."""
    return (await session.scalars(select(Tenant).where(Tenant.id == scope.tenant_id))).one()


async def rename_tenant(session: AsyncSession, scope: TenantScope, name: str) -> Tenant:
    """Give the caller's tenant another name."""
    tenant = await load_tenant(session, scope)
    tenant.name = name
    await session.flush()
    return tenant
