"""Tenants: how they stand, and the end of one."""

import datetime as dt
import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, status
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from control_plane.operators import tenants
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage
from control_plane.rest.reasons import Because
from control_plane.rest.story_ids import CURSOR, MOMENT, TENANT
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(prefix="/tenants", tags=["tenants"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_TENANTS)]
_Erasing = Annotated[OperatorAccess, operator_transaction(OperatorScope.ERASE_TENANTS)]

_TENANT: JsonDict = {
    "id": TENANT,
    "name": "Penguin Post",
    "state": "erased",
    "created_at": MOMENT,
    "erased_at": MOMENT,
}


class TenantView(BaseModel):
    """A tenant. While it is `erasing` nothing of it works; once it is `erased`, nothing of it but this is left."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _TENANT})

    id: uuid.UUID
    name: str
    state: Literal["active", "suspended", "erasing", "erased"]
    created_at: dt.datetime
    erased_at: dt.datetime | None


class TenantPage(BaseModel):
    """A page of tenants; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_TENANT], "next": CURSOR}})

    items: list[TenantView]
    next: str | None


@router.get("")
async def list_all(access: _Reading, page: OperatorsPage) -> TenantPage:
    """List tenants, also those that were erased."""
    found = await tenants.list_standings(access.session, page.after, page.limit)
    return TenantPage(
        items=[TenantView.model_validate(each) for each in found], next=page.next_after([each.id for each in found])
    )


@router.get("/{tenant_id}")
async def show(tenant_id: uuid.UUID, access: _Reading) -> TenantView:
    """Show how a tenant stands, and how far its end has come."""
    return TenantView.model_validate(await tenants.load_standing(access.session, tenant_id))


@router.post("/{tenant_id}:erase", status_code=status.HTTP_202_ACCEPTED)
async def erase(tenant_id: uuid.UUID, access: _Erasing, because: Because | None = None) -> TenantView:
    """Destroy a tenant's keys, and have all that it has deleted within minutes; there is no way back.

    409 while it has servers, and when it was erased before. Asked for again meanwhile, it goes on.
    """
    await tenants.erase(access.session, access.actor, tenant_id, because.reason if because else None)
    return TenantView.model_validate(await tenants.load_standing(access.session, tenant_id))
