"""The queue of all tenants: how deep and how old it is, and why what is due waits."""

import uuid
from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from control_plane.operators.scopes import OperatorScope
from control_plane.queuer.depth import Depth, Standing, queue_depth, standing_still
from control_plane.queuer.pauses import pauses_in_force
from control_plane.rest.operators.access import OperatorAccess, operator_parts, operator_transaction
from control_plane.rest.operators.pauses import PAUSE_EXAMPLE, OperatorPauseView
from control_plane.rest.queue import STANDS_SECONDS, DepthView, StandingView
from control_plane.rest.story_ids import INBOX, MOMENT, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["queue"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_QUEUE)]


class OperatorDepthView(DepthView):
    """The sends of one tenant, server and priority: not leased, of these the due ones, leased, and dead letters."""

    tenant_id: uuid.UUID

    @classmethod
    def of(cls, depth: Depth) -> Self:
        """Return what is shown of it."""
        return cls(tenant_id=depth.tenant_id, **DepthView.of(depth).model_dump())


class OperatorStandingView(StandingView):
    """An inbox whose oldest send has been due for half a minute, and why; null when nothing is known to hold it."""

    tenant_id: uuid.UUID

    @classmethod
    def of(cls, standing: Standing) -> Self:
        """Return what is shown of it."""
        return cls(tenant_id=standing.tenant_id, **StandingView.of(standing).model_dump())


class OperatorQueueView(BaseModel):
    """All that stands in the queue."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "depth": [
                    {
                        "tenant_id": TENANT,
                        "vps_id": VPS,
                        "priority": "normal",
                        "waiting": 1200,
                        "due": 1150,
                        "leased": 40,
                        "dead": 1,
                        "oldest_due": MOMENT,
                        "oldest_lease": MOMENT,
                    }
                ],
                "standing": [
                    {
                        "tenant_id": TENANT,
                        "inbox_id": INBOX,
                        "vps_id": VPS,
                        "priority": "normal",
                        "oldest": MOMENT,
                        "why": "the server is paused",
                    }
                ],
                "pauses": [PAUSE_EXAMPLE],
            }
        }
    )

    depth: list[OperatorDepthView]
    standing: list[OperatorStandingView]
    pauses: list[OperatorPauseView]


@router.get("/queue")
async def show_queue(request: Request, access: _Reading) -> OperatorQueueView:
    """Show depth and age by tenant, server and priority, why what is due waits, and what is paused.

    It counts rows: meant for people and for a scrape a minute.
    """
    tolerance = operator_parts(request).clock_tolerance_seconds
    standing = await standing_still(access.session, STANDS_SECONDS, tolerance)
    return OperatorQueueView(
        depth=[OperatorDepthView.of(depth) for depth in await queue_depth(access.session)],
        standing=[OperatorStandingView.of(each) for each in standing],
        pauses=[OperatorPauseView.of_pause(each) for each in await pauses_in_force(access.session)],
    )
