"""What a tenant's plan allows, and what is used of it."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from control_plane.rest.access import Access, transaction
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.plans import usage

router = APIRouter(prefix="/usage", tags=["usage"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]


class UsedView(BaseModel):
    """How much there is of something, and how much the plan allows; null for as much as one likes.

    `sends_a_day` counts what was leased to servers since midnight, UTC; what is beyond it leaves on the next day.
    """

    model_config = ConfigDict(from_attributes=True)

    what: str
    used: int
    limit: int | None


class Usage(BaseModel):
    """The plan and its limits."""

    plan: str
    limits: list[UsedView]


@router.get("")
async def show(access: _Reading) -> Usage:
    """Show what the plan allows and what is used of it."""
    plan, used = await usage(access.session, access.scope.tenant_id)
    return Usage(plan=plan, limits=[UsedView.model_validate(each) for each in used])
