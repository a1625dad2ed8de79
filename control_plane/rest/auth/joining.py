"""Taking up an invitation with the account that one has, and leaving a tenant."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Request, status
from pydantic import BaseModel

from control_plane.identity.access_tokens import Claims
from control_plane.people import sign_up
from control_plane.rest.access import person
from control_plane.rest.audited_deeds import record_persons_deed
from control_plane.rest.auth.bodies import Body, Token, count_attempt, people_of, record_joining
from control_plane.rest.parts import parts_of
from control_plane.rest.strict_route import StrictRoute
from control_plane.tenancy.members import leave
from control_plane.tenancy.scope import TenantScope
from db.session import driver_connection

router = APIRouter(prefix="/auth", tags=["auth"], route_class=StrictRoute)

_Person = Annotated[Claims, person()]


class AcceptBody(Body):
    """The code of the letter."""

    token: Token


class LeaveBody(Body):
    """A tenant that one is in."""

    tenant_id: uuid.UUID


class TenantJoined(BaseModel):
    """The tenant that one is in now; /auth/switch goes there."""

    tenant_id: uuid.UUID


@router.post("/invitations/accept")
async def accept(body: AcceptBody, request: Request, who: _Person) -> TenantJoined:
    """Become a member. The invitation is for one address, and of no use to another."""
    people = people_of(request)
    await count_attempt(request, "invitation", str(who.person_id))
    async with people.transaction() as session:
        tenant_id = await sign_up.accept(session, who.person_id, body.token, people.clock())
    await record_joining(request, tenant_id, who.person_id)
    return TenantJoined(tenant_id=tenant_id)


@router.post("/leave", status_code=status.HTTP_204_NO_CONTENT)
async def leave_tenant(body: LeaveBody, request: Request, who: _Person) -> None:
    """Be a member no longer, from the next request on. The last owner cannot leave.

    API keys that one made there are revoked and open invitations that one sent taken back, also those that such keys
    made or sent. One stays logged in, without this tenant. All else that one made is the tenant's and stays.
    """
    scope = TenantScope(body.tenant_id, frozenset(), f"person {who.person_id}")
    parts = parts_of(request)
    async with parts.database.tenant(scope.reach) as session:
        await leave(session, scope, who.person_id)
        connection = await driver_connection(session)
        await record_persons_deed(request, parts.clock, connection, body.tenant_id, who.person_id)
