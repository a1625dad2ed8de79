"""Domains of their own, which are there before their first inbox and stay after their last, until they are deleted."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.inboxes.domains import claim_domain
from control_plane.inboxes.load import load_domain
from control_plane.sealing import Sealer
from control_plane.tenancy.scope import TenantScope
from db.session import Database

_KEEP = text("UPDATE domains SET kept = true WHERE tenant_id = :tenant AND id = :domain")
_HAS_INBOXES = text("SELECT EXISTS (SELECT FROM inboxes WHERE tenant_id = :tenant AND domain_id = :domain)")
# The tenants' role deletes nothing itself.
_MARK = text("UPDATE domains SET deleted_at = now(), kept = false WHERE tenant_id = :tenant AND id = :domain")
# Its keys and the choice of its DNS host go with it.
_DELETE = text("DELETE FROM domains WHERE deleted_at IS NOT NULL")


async def keep_domain(
    session: AsyncSession, scope: TenantScope, name: str, sealer: Sealer, workspace_id: uuid.UUID | None
) -> uuid.UUID:
    """Return the id of a domain that stays from now on, with or without inboxes; raise what `claim_domain` does."""
    domain_id = await claim_domain(session, scope, name, sealer, workspace_id, field="/name")
    await session.execute(_KEEP, {"tenant": scope.tenant_id, "domain": domain_id})
    return domain_id


async def delete_domain(session: AsyncSession, scope: TenantScope, domain_id: uuid.UUID) -> None:
    """Delete a domain whose inboxes are gone, and our records out of its zone with them; its name is free from now on.

    Raises `NotFound`, and `Conflict` while there are inboxes, also while one is being removed.
    """
    of = {"tenant": scope.tenant_id, "domain": domain_id}
    # Whoever adds an inbox meanwhile is waited for, or waits.
    await load_domain(session, scope, domain_id, lock=True)
    if await session.scalar(_HAS_INBOXES, of):
        raise Conflict("The domain has inboxes; remove them first.")
    await session.execute(_MARK, of)


async def forget_deleted_domains(database: Database) -> None:
    """Delete the rows of domains that were deleted, and their keys."""
    async with database.system() as session:
        await session.execute(_DELETE)
