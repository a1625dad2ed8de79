"""Write down what each request changed: the one place for all operations of the tenants' door.

It is done when a route that changes something has answered well, and in its transaction, so that both are there or
neither. A route that waits for others meanwhile holds none: its deed is written right after. Sends are not written down
one by one, for each has its timeline.
"""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from psycopg import AsyncConnection

from control_plane.audit.chain import Deed
from control_plane.audit.record import append
from control_plane.clock import Clock
from control_plane.rest.request_id import request_id_of
from control_plane.tenancy.scope import TenantScope
from db.session import Database

_STATE = "penguin.deed"
_PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Begun:
    """Who does it, and where it is written down: the request's transaction, or one of its own."""

    scope: TenantScope
    clock: Clock
    connection: AsyncConnection[Any] | None = None
    database: Database | None = None


def note_deed(request: Request, begun: Begun) -> None:
    """Remember what record_deed needs."""
    request.scope[_STATE] = begun


async def record_deed(request: Request, answer: Response) -> None:
    """Write down what was done, unless it was not."""
    begun: Begun | None = request.scope.get(_STATE)
    if begun is None or answer.status_code >= 400:
        return
    # Nobody is waited for here: a body that the route has not read is of no use to it.
    fields = sorted(_object(await request.body())) if request.scope["route"].body_field else []
    deed = _deed(request, begun.clock, begun.scope.actor, _subject(request, answer), fields)
    if begun.connection is not None:
        await append(begun.connection, begun.scope.tenant_id, deed)
    elif begun.database is not None:
        async with begun.database.tenant_connection(begun.scope.reach) as connection:
            await append(connection, begun.scope.tenant_id, deed)


async def record_persons_deed(
    request: Request, clock: Clock, connection: AsyncConnection[Any], tenant_id: uuid.UUID, person_id: uuid.UUID
) -> None:
    """Write down in a tenant what a person did there by a route that is above tenants: coming, or leaving."""
    subject = {"person_id": str(person_id)}
    await append(connection, tenant_id, _deed(request, clock, f"person {person_id}", subject, []))


def _deed(request: Request, clock: Clock, actor: str, subject: dict[str, str], fields: list[str]) -> Deed:
    return Deed(
        at=clock(),
        actor=actor,
        act=f"{request.method} {request.scope['route'].path.removeprefix(_PREFIX)}",
        subject=subject,
        fields=fields,
        address=request.client.host if request.client else None,
        request_id=request_id_of(request.scope),
    )


def _subject(request: Request, answer: Response) -> dict[str, str]:
    subject = {name: str(value) for name, value in request.path_params.items()}
    # What was made says its id.
    made = _object(bytes(answer.body)).get("id")
    return {**subject, "id": made} if isinstance(made, str) else subject


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
