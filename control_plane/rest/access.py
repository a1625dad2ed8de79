"""Who calls, for which tenant, and in which transaction. Each route names its permission here and nowhere else.

One request, one transaction, committed at the edge: `transaction` gives the route a session, and commits it after the
route has returned and before the answer is sent (`scope="function"`; FastAPI's own default is after the answer). A
commit that fails is therefore an error to the caller, and a 202 is always true.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Unauthenticated
from control_plane.identity.api_keys import PresentedKey, parse_api_key
from control_plane.rest.parts import parts_of
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope, scope_of_key
from db.session import driver_connection

_bearer = HTTPBearer(auto_error=False, bearerFormat="pmk_…", description="An API key.")


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
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> PresentedKey:
    """Return the key in the Authorization header; raise `Unauthenticated` when there is none.

    It awaits nothing, but the framework would call a plain function in a thread, which costs more than the function.
    """
    if credentials is None:
        raise Unauthenticated("Send an API key: Authorization: Bearer pmk_….")
    return parse_api_key(credentials.credentials)


#: A route that takes no more than this leaves it to what it calls to verify the key and to ask for the permission.
Presented = Annotated[PresentedKey, Depends(presented_key)]


def transaction(permission: Permission) -> Any:  # noqa: ANN401 - Depends() is typed so, to stand as a default
    """Make the dependency that authenticates, asks for the permission, and gives the request's transaction."""

    async def open_transaction(request: Request, presented: Presented) -> AsyncIterator[Access]:
        parts = parts_of(request)
        async with parts.database.tenant(presented.tenant_id) as session:
            scope = await scope_of_key(await driver_connection(session), presented, parts.clock)
            scope.require(permission)
            yield Access(scope, session)

    return Depends(open_transaction, scope="function")


def hot_transaction(permission: Permission) -> Any:  # noqa: ANN401 - as above
    """Make the same dependency for a route that works on psycopg alone."""

    async def open_transaction(request: Request, presented: Presented) -> AsyncIterator[HotAccess]:
        parts = parts_of(request)
        async with parts.database.tenant_connection(presented.tenant_id) as connection:
            scope = await scope_of_key(connection, presented, parts.clock)
            scope.require(permission)
            yield HotAccess(scope, connection)

    return Depends(open_transaction, scope="function")


def identity(permission: Permission) -> Any:  # noqa: ANN401 - as above
    """Make the dependency of a route that waits for others meanwhile: the scope, and no session held."""

    async def identify(request: Request, presented: Presented) -> TenantScope:
        parts = parts_of(request)
        async with parts.database.tenant_connection(presented.tenant_id) as connection:
            scope = await scope_of_key(connection, presented, parts.clock)
        scope.require(permission)
        return scope

    return Depends(identify)
