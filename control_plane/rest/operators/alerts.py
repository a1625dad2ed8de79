"""Alerts: what is wrong for long enough that somebody should look."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from control_plane.monitoring.alert_states import AlertState
from control_plane.monitoring.alerts import list_alerts
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage, in_time
from control_plane.rest.story_ids import ACT, CURSOR, MOMENT, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["alerts"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_ALERTS)]
_ALERT: JsonDict = {
    "id": ACT,
    "tenant_id": TENANT,
    "vps_id": VPS,
    "rule": "unreachable",
    "severity": "critical",
    "state": "open",
    "sentence": "It was last heard of 3 minutes ago.",
    "since": MOMENT,
    "opened_at": MOMENT,
    "acknowledged_by": None,
    "acknowledged_at": None,
    "resolved_at": None,
}


class AlertView(BaseModel):
    """An alert; `since` is when it began, `opened_at` when it had lasted for long enough.

    Without a server and a tenant it is about the installation itself.
    """

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _ALERT})

    id: uuid.UUID
    tenant_id: uuid.UUID | None
    vps_id: uuid.UUID | None
    rule: str
    severity: str
    state: AlertState
    sentence: str
    since: dt.datetime
    opened_at: dt.datetime | None
    acknowledged_by: str | None
    acknowledged_at: dt.datetime | None
    resolved_at: dt.datetime | None


class AlertList(BaseModel):
    """A page of alerts; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_ALERT], "next": CURSOR}})

    items: list[AlertView]
    next: str | None


@router.get("/alerts")
async def show_alerts(access: _Reading, page: OperatorsPage, *, over: bool = False) -> AlertList:
    """List the alerts of all tenants that are not over, newest first; with `over`, those that are, too."""
    alerts = await list_alerts(access.session, over=over, after=page.behind(uuid.UUID), limit=page.limit)
    return AlertList(
        items=[AlertView.model_validate(alert) for alert in alerts],
        next=page.next_after([in_time(alert.since, alert.id) for alert in alerts]),
    )
