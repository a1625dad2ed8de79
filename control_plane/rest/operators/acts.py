"""What operators have changed, and why: by REST and by the command line."""

import datetime as dt
import uuid
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from control_plane.operators.acts import Act, Door, list_acts
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage
from control_plane.rest.story_ids import ACT, CURSOR, KEY, MOMENT, REASON, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["acts"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_ACTS)]

_ACT: JsonDict = {
    "id": ACT,
    "at": MOMENT,
    "door": "rest",
    "key_id": KEY,
    "actor": "on call",
    "act": "queue.pause",
    "subject": {"subject": "vps", "tenant_id": TENANT, "vps_id": VPS},
    "reason": REASON,
    "request_id": "3f2c9a1be8d74f0b9c55d1c0a7e2b614",
}


class ActView(BaseModel):
    """One act: `actor` is the key's name, or at the command line the system user's."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _ACT})

    id: uuid.UUID
    at: dt.datetime
    door: Door
    key_id: uuid.UUID | None
    actor: str
    act: Act
    subject: dict[str, Any]
    reason: str | None
    request_id: str | None


class ActPage(BaseModel):
    """A page of acts; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_ACT], "next": CURSOR}})

    items: list[ActView]
    next: str | None


@router.get("/acts")
async def show_acts(access: _Reading, page: OperatorsPage) -> ActPage:
    """List what operators changed, newest first."""
    acts = await list_acts(access.session, page.after, page.limit)
    return ActPage(items=[ActView.model_validate(act) for act in acts], next=page.next_after([act.id for act in acts]))
