"""What a caller's rights come from, held while something is made that must end when those rights do.

Whoever takes the rights away locks the same row, and looks for what was made by means of them once it has the lock. So
of an invitation and the end of its sender's membership one is always first: it is taken back, or never made.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, Forbidden, Unauthenticated
from control_plane.tenancy.scope import TenantScope

_HOLD_MEMBERSHIP = text(
    "SELECT role, workspaces FROM memberships"
    " WHERE tenant_id = :tenant AND 'person ' || person_id = :actor AND ended_at IS NULL FOR SHARE"
)
# What a key may do never changes; it is in force or not.
_HOLD_KEY = text(
    "SELECT id FROM api_keys WHERE tenant_id = :tenant AND 'api-key ' || id = :actor AND revoked_at IS NULL FOR SHARE"
)


async def hold_standing(session: AsyncSession, scope: TenantScope) -> None:
    """Have nobody take away what the caller may do before this transaction ends.

    Raises what the caller would be told by now when somebody did since the scope was made: `Forbidden` for a member no
    longer, `Unauthenticated` for a key that was revoked, and `Conflict` for another role or other workspaces.
    """
    of = {"tenant": scope.tenant_id, "actor": scope.actor}
    if scope.role is not None:
        member = (await session.execute(_HOLD_MEMBERSHIP, of)).one_or_none()
        if member is None:
            raise Forbidden("The caller is not a member of this tenant any more.")
        workspaces = None if member.workspaces is None else frozenset(member.workspaces)
        if (member.role, workspaces) != (scope.role.value, scope.workspaces):
            raise Conflict("What the caller may do in this tenant has just changed; ask again.")
    elif scope.actor.startswith("api-key ") and await session.scalar(_HOLD_KEY, of) is None:
        raise Unauthenticated("The API key has been revoked.")
