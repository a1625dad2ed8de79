"""Settings of the whole fleet: what can be set, and plans to set it ring by ring, which are among the upgrades."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from control_plane.operators import upgrades
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.operators.upgrades import NewPlan, UpgradeView
from control_plane.rest.story_ids import REASON, VPS
from control_plane.rest.strict_route import StrictRoute
from control_plane.upgrades.configuration_plans import ConfigurationWish, differences, list_settings
from control_plane.upgrades.plans import Pace

router = APIRouter(tags=["upgrades"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_FLEET)]
_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_FLEET)]

_CONNECT = "smtp_connect_timeout"
_SETTING: JsonDict = {"name": _CONNECT, "set": "20", "shipped": "30", "may_be": "a whole number from 5 to 120"}
_DIFFERENCE: JsonDict = {
    "servers": ["mx-7f3a.penguin.example"],
    "diff": "--- /etc/postfix/main.cf\n+++ /etc/postfix/main.cf\n@@ -41,0 +42 @@\n+smtp_connect_timeout = 20",
}

_Name = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9_]+$")]
_Value = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x20-\x7e]+$")]


class SettingView(BaseModel):
    """What can be set; `set` is null where it is as it is shipped."""

    model_config = ConfigDict(from_attributes=True, coerce_numbers_to_str=True, json_schema_extra={"example": _SETTING})

    name: str
    set: str | None
    shipped: str
    may_be: str


class SettingList(BaseModel):
    """All that can be set, by name."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_SETTING]}})

    items: list[SettingView]


class NewSettings(NewPlan):
    """What to set otherwise than it is, null as it is shipped; on which servers first, and how carefully."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"settings": {_CONNECT: "20"}, "canaries": [VPS], "reason": REASON}},
    )

    settings: dict[_Name, _Value | None] = Field(min_length=1, max_length=50)


class DifferenceView(BaseModel):
    """A unified diff of rendered files, and the host names of the servers that it is the same for."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _DIFFERENCE})

    servers: list[str]
    diff: str


class DifferenceList(BaseModel):
    """What a plan changes of servers' files."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_DIFFERENCE]}})

    items: list[DifferenceView]


@router.get("/fleet/settings")
async def show_settings(access: _Reading) -> SettingList:
    """List what can be set of Postfix for all servers, and what is."""
    return SettingList(items=[SettingView.model_validate(each) for each in await list_settings(access.session)])


@router.post("/fleet/settings:plan", status_code=status.HTTP_201_CREATED)
async def plan_settings(new: NewSettings, response: Response, access: _Managing) -> UpgradeView:
    """Plan other settings of all servers; nothing happens before the plan is applied, as that of an upgrade."""
    pace = Pace(new.minimum_sends, dt.timedelta(seconds=new.soak_seconds))
    wish = ConfigurationWish(new.settings, new.canaries, pace)
    plan = await upgrades.make_configuration_plan(access.session, access.actor, wish, new.reason)
    response.headers["Location"] = f"/operator/v1/fleet/upgrades/{plan.id}"
    return UpgradeView.model_validate(plan)


@router.get("/fleet/upgrades/{upgrade_id}/differences")
async def show_differences(upgrade_id: uuid.UUID, access: _Reading) -> DifferenceList:
    """Show what a plan for settings changes of servers' files; 409 for any other plan."""
    found = await differences(access.session, upgrade_id)
    return DifferenceList(items=[DifferenceView.model_validate(each) for each in found])
