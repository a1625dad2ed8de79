"""The one door to a tenant's data: a `TenantScope`, which only an authenticated caller gets.

Functions that touch a tenant's rows take the scope, never a tenant id of their caller's choosing. Row-level security
holds even where a query forgets the tenant; the scope makes the query say it.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row

from control_plane.clock import Clock
from control_plane.errors import Forbidden, InvalidInput
from control_plane.identity.access_tokens import PresentedPerson
from control_plane.identity.api_keys import UNBOUNDED, KeyBounds, PresentedKey, verify_api_key
from control_plane.tenancy.permissions import (
    EVERYTHING,
    READ_ONLY,
    ROLES,
    Permission,
    Role,
    permissions_named,
    permissions_within,
)
from db.session import Reach, narrow

#: What a caller shows: well-formed, and a person's already found to be true.
PresentedCaller = PresentedKey | PresentedPerson

_MEMBER = """
SELECT m.role, m.workspaces, t.state FROM memberships m JOIN tenants t ON t.id = m.tenant_id
WHERE m.tenant_id = %(tenant_id)s AND m.person_id = %(person_id)s AND m.ended_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class TenantScope:
    """A tenant, what may be done there, and by whom."""

    tenant_id: uuid.UUID
    permissions: frozenset[Permission]
    #: "api-key <id>", "person <id>", or "platform" for what no caller asked for.
    actor: str = "platform"
    #: What keys that the caller makes must keep within.
    bounds: KeyBounds = UNBOUNDED
    #: What the caller is in the tenant; a key is nothing.
    role: Role | None = None
    #: What the caller is there for; None for the whole tenant.
    workspaces: frozenset[uuid.UUID] | None = None

    @property
    def reach(self) -> Reach:
        """What transactions for the caller see."""
        return Reach(self.tenant_id, self.workspaces)

    @property
    def single_workspace(self) -> uuid.UUID | None:
        """The workspace of a caller who is there for one alone."""
        return next(iter(self.workspaces)) if self.workspaces is not None and len(self.workspaces) == 1 else None

    def workspace_of(self, named: uuid.UUID | None) -> uuid.UUID | None:
        """Return the workspace of something new, None for the whole tenant; raise `InvalidInput` when it is not said.

        A caller of a single workspace means that one without naming it.
        """
        if named is not None or self.workspaces is None:
            return named
        if self.single_workspace is None:
            raise InvalidInput("Say which of your workspaces it is for.", "/workspace_id")
        return self.single_workspace

    def require(self, permission: Permission) -> None:
        """Raise `Forbidden` unless the permission is among those of the scope."""
        if permission not in self.permissions:
            raise Forbidden(f"This needs the permission {permission.value}, which the caller does not have now.")


async def scope_of(connection: AsyncConnection[Any], presented: PresentedCaller, clock: Clock) -> TenantScope:
    """Return the scope that a caller has; the connection is in a transaction of the tenant that is presented.

    From here on the transaction sees no more than the scope reaches. Raises `Unauthenticated`, and `Forbidden` for a
    person who is no member. A suspended tenant may look and not touch, and so may its keys and members.
    """
    if isinstance(presented, PresentedPerson):
        scope = await _scope_of_person(connection, presented)
    else:
        scope = await _scope_of_key(connection, presented, clock)
    if scope.workspaces is not None:
        await narrow(connection, scope.reach)
    return scope


async def _scope_of_key(connection: AsyncConnection[Any], presented: PresentedKey, clock: Clock) -> TenantScope:
    key = await verify_api_key(connection, presented, clock())
    granted = EVERYTHING if key.scopes is None else permissions_named(key.scopes)
    return TenantScope(
        key.tenant_id,
        _in_state(key.tenant_state, permissions_within(key.workspaces, granted)),
        f"api-key {key.id}",
        key.bounds,
        workspaces=key.workspaces,
    )


async def _scope_of_person(connection: AsyncConnection[Any], presented: PresentedPerson) -> TenantScope:
    cursor = connection.cursor(row_factory=namedtuple_row)
    await cursor.execute(_MEMBER, {"tenant_id": presented.tenant_id, "person_id": presented.person_id})
    found: Any = await cursor.fetchone()
    if found is None:
        raise Forbidden("The caller is not a member of this tenant any more.")
    role = Role(found.role)
    workspaces = None if found.workspaces is None else frozenset(found.workspaces)
    allowed = _in_state(found.state, permissions_within(workspaces, ROLES[role]))
    return TenantScope(presented.tenant_id, allowed, f"person {presented.person_id}", role=role, workspaces=workspaces)


def _in_state(state: str, granted: frozenset[Permission]) -> frozenset[Permission]:
    return granted if state == "active" else granted & READ_ONLY
