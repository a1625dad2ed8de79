"""Versions of the mail packages: plans to bring all servers to others ring by ring, which are among the upgrades."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from control_plane.operators import upgrades
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.operators.upgrades import NewPlan, PatienceSeconds, UpgradeView
from control_plane.rest.story_ids import REASON, VPS
from control_plane.rest.strict_route import StrictRoute
from control_plane.upgrades.package_plans import PackagesWish
from control_plane.upgrades.plans import PACE, Pace

router = APIRouter(tags=["upgrades"], route_class=StrictRoute)

_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_FLEET)]

_VERSIONS: JsonDict = {"postfix": ["3.7.12-0+deb12u1", "3.10.5-1+deb13u1"]}

_Name = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9-]+$")]
_Version = Annotated[str, Field(max_length=101, pattern=r"^[0-9][0-9A-Za-z.+~:-]*$")]
_Versions = Annotated[list[_Version], Field(min_length=1, max_length=5)]


class NewPackages(NewPlan):
    """Which mail packages to bring to which versions: a server takes the first of a package's that it is offered."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"packages": _VERSIONS, "canaries": [VPS], "reason": REASON}},
    )

    packages: dict[_Name, _Versions] = Field(min_length=1, max_length=50)
    patience_seconds: PatienceSeconds = PACE.patience.total_seconds()


@router.post("/fleet/packages:plan", status_code=status.HTTP_201_CREATED)
async def plan_packages(new: NewPackages, response: Response, access: _Managing) -> UpgradeView:
    """Plan other versions of mail packages on all servers; nothing happens before the plan is applied."""
    pace = Pace(new.minimum_sends, dt.timedelta(seconds=new.soak_seconds), dt.timedelta(seconds=new.patience_seconds))
    wish = PackagesWish(new.packages, new.canaries, pace)
    plan = await upgrades.make_package_plan(access.session, access.actor, wish, new.reason)
    response.headers["Location"] = f"/operator/v1/fleet/upgrades/{plan.id}"
    return UpgradeView.model_validate(plan)
