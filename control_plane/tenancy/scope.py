"""The one door to a tenant's data: a `TenantScope`, which only an authenticated caller gets.

Functions that touch a tenant's rows take the scope, never a tenant id of their caller's choosing. Row-level security
holds even where a query forgets the tenant; the scope makes the query say it.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from control_plane.clock import Clock
from control_plane.errors import Forbidden
from control_plane.identity.api_keys import UNBOUNDED, KeyBounds, PresentedKey, verify_api_key
from control_plane.tenancy.permissions import EVERYTHING, READ_ONLY, Permission, permissions_named


@dataclass(frozen=True, slots=True)
class TenantScope:
    """A tenant, what may be done there, and by whom."""

    tenant_id: uuid.UUID
    permissions: frozenset[Permission]
    #: "api-key <id>", or "platform" for what no caller asked for.
    actor: str = "platform"
    #: What keys that the caller makes must keep within.
    bounds: KeyBounds = UNBOUNDED

    def require(self, permission: Permission) -> None:
        """Raise `Forbidden` unless the permission is among those of the scope."""
        if permission not in self.permissions:
            raise Forbidden(f"This needs the permission {permission.value}, which the caller does not have now.")


async def scope_of_key(connection: AsyncConnection[Any], presented: PresentedKey, clock: Clock) -> TenantScope:
    """Return the scope that an API key opens; the connection is in a transaction of the tenant that the key names.

    Raises `Unauthenticated`. A suspended tenant may look and not touch, and so may its keys.
    """
    key = await verify_api_key(connection, presented, clock())
    granted = EVERYTHING if key.scopes is None else permissions_named(key.scopes)
    allowed = granted if key.tenant_state == "active" else granted & READ_ONLY
    return TenantScope(key.tenant_id, allowed, f"api-key {key.id}", key.bounds)
