"""Strays: servers at providers that nothing here needs, and rows whose server is gone there."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from control_plane.operators.scopes import OperatorScope
from control_plane.provisioning.strays import looks, strays
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import ListPage, OperatorsPage
from control_plane.rest.story_ids import CURSOR, MOMENT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["fleet"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_FLEET)]

_STRAY: JsonDict = {
    "provider": "hetzner",
    "name": "pm-01934d3b11c2",
    "kind": "orphan",
    "reason": "mx-1.penguin.example was removed here",
    "ipv4_address": "198.51.100.7",
    "vps_id": VPS,
    "seen_at": MOMENT,
    "reap_at": None,
}
_LOOK: JsonDict = {"provider": "hetzner", "looked_at": MOMENT, "fault": None}


class StrayView(BaseModel):
    """`orphan`: it is at the provider and nothing needs it; `missing`: it is needed and not there.

    `seen_at` is when it was found first, `reap_at` when an operator said that it may be deleted.
    """

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _STRAY})

    provider: str
    name: str
    kind: str
    reason: str
    ipv4_address: str | None
    vps_id: uuid.UUID | None
    seen_at: dt.datetime
    reap_at: dt.datetime | None


class LookView(BaseModel):
    """When a provider was last asked, and why it could not be, if so: then what is listed is what was found before."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _LOOK})

    provider: str
    looked_at: dt.datetime | None
    fault: str | None


class OrphansView(BaseModel):
    """A page of what was found when the providers were last asked, by provider and name.

    `next` is what to send as `after` for the page that follows.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_STRAY], "next": CURSOR, "looks": [_LOOK]}})

    items: list[StrayView]
    next: str | None
    looks: list[LookView]


@router.get("/orphans")
async def show_orphans(access: _Reading, page: OperatorsPage) -> OrphansView:
    """List servers that cost money and serve nobody, and those that should be there and are not."""
    found = await strays(access.session, _behind(page), page.limit)
    return OrphansView(
        items=[StrayView.model_validate(each) for each in found],
        next=page.next_after([f"{each.provider} {each.name}" for each in found]),
        looks=[LookView.model_validate(each) for each in await looks(access.session)],
    )


def _behind(page: ListPage) -> tuple[str, str] | None:
    if page.place is None:
        return None
    provider, _, name = page.place.partition(" ")
    return provider, name
