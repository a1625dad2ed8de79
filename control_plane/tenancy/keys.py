"""A tenant's API keys as the tenant keeps them. Nobody makes a key that may do more than they themselves."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, Text, cast, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Forbidden, InvalidInput, NotFound
from control_plane.identity.api_keys import KeyBounds, NewApiKey, insert_api_key
from control_plane.identity.networks import is_within
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from control_plane.tenancy.standing import hold_standing
from control_plane.tenancy.workspaces import chosen_workspaces
from db.models import ApiKeyRow


@dataclass(frozen=True, slots=True)
class WantedKey:
    """A key that somebody asks for."""

    name: str
    permissions: frozenset[Permission]
    bounds: KeyBounds
    #: None for as much as the caller is there for.
    workspaces: frozenset[uuid.UUID] | None = None


async def make_key(session: AsyncSession, scope: TenantScope, wanted: WantedKey, now: dt.datetime) -> NewApiKey:
    """Insert a key; raise `Forbidden` for permissions or bounds beyond the caller's, `InvalidInput` for a past expiry.

    Bounds and workspaces that are not asked for are the caller's own; `NotFound` for another workspace. And what
    `hold_standing` raises, for a key ends with what lets the caller make it.
    """
    beyond = sorted(each.value for each in wanted.permissions - scope.permissions)
    if beyond:
        raise Forbidden(f"The caller does not have {', '.join(beyond)} and so cannot give it to a key.")
    if wanted.bounds.expires_at is not None and wanted.bounds.expires_at <= now:
        raise InvalidInput("The key would have expired already.", "/expires_at")
    await hold_standing(session, scope)
    bounds = bounds_within(scope.bounds, wanted.bounds)
    workspaces = await chosen_workspaces(session, scope, wanted.workspaces)
    scopes = [each.value for each in wanted.permissions]
    return await insert_api_key(
        session,
        scope.tenant_id,
        wanted.name,
        created_by=scope.actor,
        scopes=scopes,
        bounds=bounds,
        workspaces=workspaces,
    )


def bounds_within(own: KeyBounds, asked: KeyBounds) -> KeyBounds:
    """Return what was asked for, and the caller's own where nothing was; raise `Forbidden` for more than that."""
    expires_at = asked.expires_at or own.expires_at
    if own.expires_at is not None and expires_at is not None and expires_at > own.expires_at:
        raise Forbidden("A key cannot be made to outlast the key that makes it.")
    networks = asked.networks or own.networks
    if own.networks and not all(is_within(network, own.networks) for network in networks):
        raise Forbidden("A key cannot be made for networks beyond those of the key that makes it.")
    return KeyBounds(expires_at, networks)


async def list_keys(
    session: AsyncSession, scope: TenantScope, prefix: str, after: uuid.UUID | None, limit: int
) -> Sequence[ApiKeyRow]:
    """Return a page of keys, also those out of force, whose shown part begins with `prefix`, by id."""
    query = select(ApiKeyRow).where(
        ApiKeyRow.tenant_id == scope.tenant_id, ApiKeyRow.prefix.startswith(prefix, autoescape=True)
    )
    if after is not None:
        query = query.where(ApiKeyRow.id > after)
    return (await session.scalars(query.order_by(ApiKeyRow.id).limit(limit))).all()


async def load_key(session: AsyncSession, scope: TenantScope, key_id: uuid.UUID) -> ApiKeyRow:
    """Return a key of the tenant; raise `NotFound`."""
    query = select(ApiKeyRow).where(ApiKeyRow.tenant_id == scope.tenant_id, ApiKeyRow.id == key_id)
    key = await session.scalar(query)
    if key is None:
        raise NotFound("There is no such API key.")
    return key


async def revoke_key(session: AsyncSession, scope: TenantScope, key_id: uuid.UUID) -> None:
    """Put a key out of force at once; one that is already stays so. Raise `NotFound` for one that there is not."""
    await load_key(session, scope, key_id)
    await session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.tenant_id == scope.tenant_id, ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


@dataclass(frozen=True, slots=True)
class Left:
    """What somebody who loses something keeps: permissions, in some workspaces or, with None, in all."""

    permissions: frozenset[Permission]
    workspaces: frozenset[uuid.UUID] | None


async def actors_of(session: AsyncSession, scope: TenantScope, person_id: uuid.UUID) -> list[str]:
    """Return the names under which somebody acted in the tenant: their own, and those of keys made by means of it."""
    keys = await session.scalars(_made_by(scope, person_id))
    return [f"person {person_id}", *(f"api-key {key_id}" for key_id in keys)]


async def revoke_keys_of(
    session: AsyncSession, scope: TenantScope, person_id: uuid.UUID, left: Left | None = None
) -> None:
    """Put out of force what somebody made who is a member no longer, and what was made by means of that.

    Of somebody who is left with something, what is for more than that. Again until there is nothing: one that is waited
    for here may have made another until then, and makes none from then on.
    """
    own = ApiKeyRow.tenant_id == scope.tenant_id
    revoked = (
        update(ApiKeyRow)
        .where(own, ApiKeyRow.id.in_(_made_by(scope, person_id)), ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    if left is not None:
        within = ApiKeyRow.scopes.contained_by([each.value for each in left.permissions])
        if left.workspaces is not None:
            within &= ApiKeyRow.workspaces.contained_by(sorted(left.workspaces))
        # NULL is all permissions, or all workspaces.
        revoked = revoked.where(~func.coalesce(within, False))
    while (await session.scalars(revoked.returning(ApiKeyRow.id))).all():
        pass


def _made_by(scope: TenantScope, person_id: uuid.UUID) -> Select[tuple[uuid.UUID]]:
    """Select the keys that somebody made, and those that were made by means of one, also those out of force."""
    own = ApiKeyRow.tenant_id == scope.tenant_id
    made = select(ApiKeyRow.id).where(own, ApiKeyRow.created_by == f"person {person_id}").cte(recursive=True)
    maker = literal("api-key ").concat(cast(made.c.id, Text))
    made = made.union(select(ApiKeyRow.id).join(made, ApiKeyRow.created_by == maker).where(own))
    return select(made.c.id)
