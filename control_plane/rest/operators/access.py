"""Which operator calls, with what scopes, in which transaction; a route that names no scope keeps the door shut.

As at the tenants' door, the transaction is committed after the route has returned and before the answer is sent, and
If-Match is judged in it.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.errors import Unauthenticated, Unavailable
from control_plane.operators.acts import Actor, Door
from control_plane.operators.keys import PresentedOperatorKey, parse_operator_key, verify_operator_key
from control_plane.operators.rule_files import RuleFiles
from control_plane.operators.scopes import OperatorScope, require_one
from control_plane.rest.dependencies import calls_of
from control_plane.rest.kept_answers import begin_in
from control_plane.rest.kept_places import of_operator
from control_plane.rest.request_id import request_id_of
from control_plane.rest.versions import OPENED, require_expected
from control_plane.sealing import Sealer
from db.session import Database, driver_connection

_bearer = HTTPBearer(auto_error=False, bearerFormat="pmo_…", description="An operator's key.")


class RouteWithoutScope(Exception):
    """A route of the operators' door does not say once what opens it."""


@dataclass(frozen=True, slots=True)
class OperatorParts:
    """What the operators' routes work with, kept in `app.state.parts`. The database is that of the system role."""

    database: Database
    clock: Clock
    clock_tolerance_seconds: int
    sealing_key_file: Path
    rules: RuleFiles
    metrics_targets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class OperatorAccess:
    """Who acts, and the transaction of the request: it sees all tenants."""

    actor: Actor
    session: AsyncSession
    #: What the operator's key opens.
    scopes: frozenset[str]


async def presented_key(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> PresentedOperatorKey:
    """Return the key in the Authorization header; raise `Unauthenticated` when there is none."""
    if credentials is None:
        raise Unauthenticated("Send an operator's key: Authorization: Bearer pmo_….")
    return parse_operator_key(credentials.credentials)


class _OpensTransaction:
    """The dependency that authenticates, asks for one of its scopes, and gives the request's transaction."""

    def __init__(self, scopes: Collection[OperatorScope]) -> None:
        self.scopes = frozenset(scopes)

    async def __call__(
        self, request: Request, presented: Annotated[PresentedOperatorKey, Depends(presented_key)]
    ) -> AsyncIterator[OperatorAccess]:
        if (opened := request.scope.get(OPENED)) is not None:
            yield opened
            return
        parts = operator_parts(request)
        async with parts.database.system() as session:
            key = await verify_operator_key(session, presented, parts.clock())
            require_one(key.scopes, self.scopes)
            actor = Actor(Door.REST, key.name, key.id, request_id_of(request.scope))
            access = OperatorAccess(actor, session, key.scopes)
            connection = await driver_connection(session)
            await begin_in(request, connection, partial(of_operator, presented.answer_secret, key.id))
            await require_expected(request, connection, {OPENED: access})
            yield access


def operator_transaction(*scopes: OperatorScope) -> Any:  # noqa: ANN401 - Depends() is typed so, to stand as a default
    """Make that dependency for a route; one that several scopes open judges itself what each opens."""
    return Depends(_OpensTransaction(scopes), scope="function")


def operator_parts(request: Request) -> OperatorParts:
    """Return the parts of the application that serves the request."""
    parts: OperatorParts = request.app.state.parts
    return parts


def sealer_of(request: Request) -> Sealer:
    """Return what seals secrets; raise `Unavailable` where this process was not given the key."""
    key_file = operator_parts(request).sealing_key_file
    if not key_file.is_file():
        raise Unavailable("this process has no sealing key; do it at the command line")
    return Sealer.of_file(key_file)


def scopes_named(routers: Iterable[APIRouter]) -> list[tuple[APIRoute, frozenset[OperatorScope]]]:
    """Return the scopes of which one opens each route; raise `RouteWithoutScope` for one that does not say it once."""
    named = []
    for router in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                raise RouteWithoutScope(f"{route} cannot name a scope")
            opening = [call.scopes for call in calls_of(route.dependant) if isinstance(call, _OpensTransaction)]
            if len(opening) != 1 or not opening[0]:
                raise RouteWithoutScope(f"{route} says {len(opening)} times what opens it")
            named.append((route, opening[0]))
    return named
