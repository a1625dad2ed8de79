"""The caller's own tenant."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from control_plane.rest.access import Access, transaction
from control_plane.rest.names import Name
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.own_tenant import load_tenant, rename_tenant
from control_plane.tenancy.permissions import Permission

router = APIRouter(prefix="/tenant", tags=["tenant"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_TENANT)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_TENANT)]


class TenantChanges(BaseModel):
    """What the tenant is to be called."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Penguin Post"}})

    name: Name


class TenantView(BaseModel):
    """A tenant; `suspended` it may look and not touch. What its plan allows is at /usage."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    state: str
    plan: str
    created_at: dt.datetime


@router.get("")
async def show(access: _Reading) -> TenantView:
    """Show the tenant that the caller acts for."""
    return TenantView.model_validate(await load_tenant(access.session, access.scope))


@router.patch("")
async def change(body: TenantChanges, access: _Managing) -> TenantView:
    """Change what the tenant is called."""
    return TenantView.model_validate(await rename_tenant(access.session, access.scope, body.name))
