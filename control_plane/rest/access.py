"""Who calls, for which tenant, and in which transaction.

Each route names its one permission by what it takes from here, or says that anybody or any person who is logged in may
ask; one that does not keeps the door shut.

One request, one transaction, committed at the edge: `transaction` gives the route a session, and commits it after the
route has returned and before the answer is sent (`scope="function"`; FastAPI's own default is after the answer). A
commit that fails is therefore an error to the caller, and a 202 is always true.
"""

import enum
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Forbidden, Unauthenticated
from control_plane.identity.access_tokens import Claims, PresentedPerson
from control_plane.identity.api_keys import MARK, parse_api_key
from control_plane.identity.networks import address_of
from control_plane.rest.audited_deeds import Begun, note_deed
from control_plane.rest.auth.repeats import begin_of_person
from control_plane.rest.dependencies import calls_of
from control_plane.rest.kept_answers import begin_before, begin_in
from control_plane.rest.kept_places import Asked, Place, answer_secrets, of_tenant
from control_plane.rest.limited_requests import Caller, note_caller
from control_plane.rest.parts import Parts, parts_of
from control_plane.rest.versions import OPENED, require_expected
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import PresentedCaller, TenantScope, scope_of
from db.session import driver_connection

_bearer = HTTPBearer(auto_error=False, bearerFormat="pmk_… or JWT", description="An API key or an access token.")


class Open(enum.Enum):
    """Who may use a route that needs no permission in a tenant."""

    ANYBODY = "anybody"
    PERSON = "person"


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


_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def presented_caller(request: Request, credentials: _Credentials) -> PresentedCaller:
    """Return who the Authorization header names; raise `Unauthenticated` when it names nobody.

    A key is not found to be true here, for that takes the tenant's transaction; a person's token is.
    """
    if credentials is None:
        raise Unauthenticated("Send an API key or an access token: Authorization: Bearer ….")
    if not credentials.credentials.startswith(MARK):
        return await _presented_person(request, credentials.credentials)
    presented = parse_api_key(credentials.credentials, address_of(request.client.host if request.client else None))
    note_caller(request, Caller(f"{presented.tenant_id}/{presented.prefix}", str(presented.tenant_id)))
    return presented


async def _presented_person(request: Request, token: str) -> PresentedPerson:
    claims = await _claims(request, token)
    if claims.tenant_id is None:
        raise Forbidden("The caller is not a member of any tenant.")
    return PresentedPerson(claims.tenant_id, claims.person_id, claims.session_id)


async def _claims(request: Request, token: str) -> Claims:
    claims = await parts_of(request).people.identify(token)
    note_caller(request, Caller(f"person/{claims.person_id}", str(claims.tenant_id) if claims.tenant_id else None))
    return claims


Presented = Annotated[PresentedCaller, Depends(presented_caller)]


@dataclass(frozen=True, slots=True)
class _Naming:
    """A dependency that names the permission which its route needs."""

    permission: Permission | Open


@dataclass(frozen=True, slots=True)
class NamesPermission(_Naming):
    """One that names a permission in a tenant; a door with callers of its own kind makes its own of it."""

    permission: Permission


def _place(parts: Parts, scope: TenantScope, asked: Asked) -> Place:
    return of_tenant(answer_secrets(parts.sealer), scope, asked)


class _OpensTransaction(NamesPermission):
    """Authenticates, asks for the permission, and gives the request's transaction."""

    async def __call__(self, request: Request, presented: Presented) -> AsyncIterator[Access]:
        if (opened := request.scope.get(OPENED)) is not None:
            yield opened
            return
        parts = parts_of(request)
        async with parts.database.tenant(presented.tenant_id) as session:
            connection = await driver_connection(session)
            scope = await scope_of(connection, presented, parts.clock)
            scope.require(self.permission)
            await begin_in(request, connection, partial(_place, parts, scope))
            note_deed(request, Begun(scope, parts.clock, connection=connection))
            access = Access(scope, session)
            await require_expected(request, connection, {OPENED: access})
            yield access


class _OpensHotTransaction(NamesPermission):
    """Does the same for a route that works on psycopg alone."""

    async def __call__(self, request: Request, presented: Presented) -> AsyncIterator[HotAccess]:
        if (opened := request.scope.get(OPENED)) is not None:
            yield HotAccess(opened.scope, await driver_connection(opened.session))
            return
        parts = parts_of(request)
        async with parts.database.tenant_connection(presented.tenant_id) as connection:
            scope = await scope_of(connection, presented, parts.clock)
            scope.require(self.permission)
            yield HotAccess(scope, connection)


class _Identifies(NamesPermission):
    """Authenticates and asks for the permission; no session is held afterwards."""

    async def __call__(self, request: Request, presented: Presented) -> TenantScope:
        parts = parts_of(request)
        async with parts.database.tenant_connection(presented.tenant_id) as connection:
            scope = await scope_of(connection, presented, parts.clock)
            scope.require(self.permission)
            opens = partial(parts.database.tenant_connection, scope.reach)
            await begin_before(request, connection, partial(_place, parts, scope), opens)
        if self.permission is not Permission.SEND_MESSAGES:
            note_deed(request, Begun(scope, parts.clock, database=parts.database))
        return scope


class _OnlyPresents(NamesPermission):
    """Hands the key on as it came."""

    async def __call__(self, presented: Presented) -> PresentedCaller:
        return presented


class _TakesAnybody(_Naming):
    """Asks nobody who they are."""

    async def __call__(self) -> None:
        """Do nothing: that it is named is what it is for."""


class _KnowsPerson(_Naming):
    """Authenticates a person, wherever they are a member; an API key is none."""

    async def __call__(self, request: Request, credentials: _Credentials) -> Claims:
        if credentials is None:
            raise Unauthenticated("Send an access token: Authorization: Bearer ….")
        who = await _claims(request, credentials.credentials)
        await begin_of_person(request, who)
        return who


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


def anybody() -> Any:  # noqa: ANN401 - as above
    """Make the dependency of a route that asks nobody who they are."""
    return Depends(_TakesAnybody(Open.ANYBODY))


def person() -> Any:  # noqa: ANN401 - as above
    """Make the dependency of a route for a person who is logged in, whatever they may do in a tenant."""
    return Depends(_KnowsPerson(Open.PERSON))


def permissions_of(routers: Iterable[APIRouter]) -> list[tuple[APIRoute, Permission | Open]]:
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
