"""Who calls, for which tenant, and in which transaction.

Each route names its one permission by what it takes from here; one that does not keeps the door shut.

One request, one transaction, committed at the edge: `transaction` gives the route a session, and commits it after the
route has returned and before the answer is sent (`scope="function"`; FastAPI's own default is after the answer). A
commit that fails is therefore an error to the caller, and a 202 is always true.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Unauthenticated
from control_plane.identity.api_keys import PresentedKey, parse_api_key
from control_plane.identity.networks import address_of
from control_plane.rest.dependencies import calls_of
from control_plane.rest.kept_answers import begin_before, begin_in
from control_plane.rest.limited_requests import Caller, note_caller
from control_plane.rest.parts import parts_of
from control_plane.rest.versions import require_expected
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope, scope_of_key
from db.session import driver_connection

#: Where a request that reads within another's transaction finds that (versions.py).
_OPENED = "penguin.access"

_bearer = HTTPBearer(auto_error=False, bearerFormat="pmk_…", description="An API key.")


class RouteWithoutPermission(Exception):
    """A route of the tenants' door names no permission, or more than one."""


@dataclass(frozen=True, slots=True)
class Access:
    """A caller's tenant and the transaction of the request."""

    scope: TenantScope
    session: AsyncSession


@dataclass(frozen=True, slots=True)
class HotAccess:
    """A caller's tenant and psycopg's connection, in the transaction of the request."""

    scope: TenantScope
    connection: psycopg.AsyncConnection[Any]


async def presented_key(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> PresentedKey:
    """Return the key in the Authorization header; raise `Unauthenticated` when there is none.

    It awaits nothing, but the framework would call a plain function in a thread, which costs more than the function.
    """
    if credentials is None:
        raise Unauthenticated("Send an API key: Authorization: Bearer pmk_….")
    presented = parse_api_key(credentials.credentials, address_of(request.client.host if request.client else None))
    note_caller(request, Caller(f"{presented.tenant_id}/{presented.prefix}", str(presented.tenant_id)))
    return presented


Presented = Annotated[PresentedKey, Depends(presented_key)]


@dataclass(frozen=True, slots=True)
class _Naming:
    """A dependency that names the permission which its route needs."""

    permission: Permission


class _OpensTransaction(_Naming):
    """Authenticates, asks for the permission, and gives the request's transaction."""

    async def __call__(self, request: Request, presented: Presented) -> AsyncIterator[Access]:
        if (opened := request.scope.get(_OPENED)) is not None:
            yield opened
            return
        parts = parts_of(request)
        async with parts.database.tenant(presented.tenant_id) as session:
            connection = await driver_connection(session)
            scope = await scope_of_key(connection, presented, parts.clock)
            scope.require(self.permission)
            await begin_in(request, connection, scope)
            access = Access(scope, session)
            await require_expected(request, connection, {_OPENED: access})
            yield access


class _OpensHotTransaction(_Naming):
    """Does the same for a route that works on psycopg alone."""

    async def __call__(self, request: Request, presented: Presented) -> AsyncIterator[HotAccess]:
        parts = parts_of(request)
        async with parts.database.tenant_connection(presented.tenant_id) as connection:
            scope = await scope_of_key(connection, presented, parts.clock)
            scope.require(self.permission)
            yield HotAccess(scope, connection)


class _Identifies(_Naming):
    """Authenticates and asks for the permission; no session is held afterwards."""

    async def __call__(self, request: Request, presented: Presented) -> TenantScope:
        parts = parts_of(request)
        async with parts.database.tenant_connection(presented.tenant_id) as connection:
            scope = await scope_of_key(connection, presented, parts.clock)
            scope.require(self.permission)
            await begin_before(request, parts.database, connection, scope)
        return scope


class _OnlyPresents(_Naming):
    """Hands the key on as it came."""

    async def __call__(self, presented: Presented) -> PresentedKey:
        return presented


def transaction(permission: Permission) -> Any:  # noqa: ANN401 - Depends() is typed so, to stand as a default
    """Make the dependency that authenticates, asks for the permission, and gives the request's transaction."""
    return Depends(_OpensTransaction(permission), scope="function")


def hot_transaction(permission: Permission) -> Any:  # noqa: ANN401 - as above
    """Make the same dependency for a route that works on psycopg alone."""
    return Depends(_OpensHotTransaction(permission), scope="function")


def identity(permission: Permission) -> Any:  # noqa: ANN401 - as above
    """Make the dependency of a route that waits for others meanwhile: the scope, and no session held."""
    return Depends(_Identifies(permission))


def presented_for(permission: Permission) -> Any:  # noqa: ANN401 - as above
    """Make the dependency of a route that calls what verifies the key and asks for the permission itself."""
    return Depends(_OnlyPresents(permission))


def permissions_of(routers: Iterable[APIRouter]) -> list[tuple[APIRoute, Permission]]:
    """Return the permission of each route; raise `RouteWithoutPermission` for one that does not name exactly one."""
    named = []
    for router in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                raise RouteWithoutPermission(f"{route} cannot name a permission")
            naming = [call for call in calls_of(route.dependant) if isinstance(call, _Naming)]
            if len(naming) != 1:
                raise RouteWithoutPermission(f"{route} names {len(naming)} permissions")
            named.append((route, naming[0].permission))
    return named
