"""The queue of a tenant: how deep and how old it is, why what is due waits, and pauses of its own.

A pause holds back what is not leased yet; what is leased goes on. An operator's pauses are shown and are not a tenant's
to resume.
"""

import datetime as dt
import uuid
from typing import Annotated, Self

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field

from control_plane.queuer import pauses
from control_plane.queuer.depth import Depth, Standing, queue_depth, standing_still
from control_plane.queuer.keys import PRIORITIES
from control_plane.queuer.pauses import PauseInForce, Subject
from control_plane.rest.access import Access, transaction
from control_plane.rest.parts import parts_of
from control_plane.rest.reasons import Reason
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission

router = APIRouter(tags=["queue"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_INBOXES)]

#: Seconds after which a send that is due and not leased is explained.
STANDS_SECONDS = 30.0


class DepthView(BaseModel):
    """The sends of one server and priority: not leased, of these the due ones, leased, and dead letters."""

    vps_id: uuid.UUID
    priority: str
    waiting: int
    due: int
    leased: int
    dead: int
    oldest_due: dt.datetime | None
    oldest_lease: dt.datetime | None

    @classmethod
    def of(cls, depth: Depth) -> Self:
        """Return what is shown of it."""
        return cls(
            vps_id=depth.vps_id,
            priority=PRIORITIES[depth.priority],
            waiting=depth.waiting,
            due=depth.due,
            leased=depth.leased,
            dead=depth.dead,
            oldest_due=depth.oldest_due,
            oldest_lease=depth.oldest_lease,
        )


class StandingView(BaseModel):
    """An inbox whose oldest send has been due for half a minute, and why; null when nothing is known to hold it."""

    inbox_id: uuid.UUID
    vps_id: uuid.UUID
    priority: str
    oldest: dt.datetime
    why: str | None

    @classmethod
    def of(cls, standing: Standing) -> Self:
        """Return what is shown of it."""
        return cls(
            inbox_id=standing.inbox_id,
            vps_id=standing.vps_id,
            priority=PRIORITIES[standing.priority],
            oldest=standing.oldest,
            why=standing.why or None,
        )


class NewPause(BaseModel):
    """What to hold back."""

    model_config = ConfigDict(extra="forbid")

    subject: Subject
    of: str | None = Field(
        None,
        max_length=36,
        description="The id of the server or inbox, or the priority's name; left out for all of the tenant's sends.",
    )
    reason: Reason = None


class PauseView(BaseModel):
    """A pause in force."""

    id: uuid.UUID
    subject: Subject
    of: str | None
    reason: str | None
    by_operator: bool
    since: dt.datetime

    @classmethod
    def of_pause(cls, in_force: PauseInForce) -> Self:
        """Return what is shown of it."""
        held = in_force.held
        named = held.vps_id or held.inbox_id or (None if held.priority is None else PRIORITIES[held.priority])
        return cls(
            id=in_force.id,
            subject=held.subject,
            of=None if named is None else str(named),
            reason=in_force.reason,
            by_operator=in_force.by_operator,
            since=in_force.created_at,
        )


class QueueView(BaseModel):
    """All that stands in a tenant's queue."""

    depth: list[DepthView]
    standing: list[StandingView]
    pauses: list[PauseView]


@router.get("/queue")
async def show_queue(request: Request, access: _Reading) -> QueueView:
    """Show depth and age by server and priority, why what is due waits, and what is paused."""
    tolerance, own = parts_of(request).settings.clock_tolerance_seconds, access.scope.tenant_id
    depth = await queue_depth(access.session)
    standing = await standing_still(access.session, STANDS_SECONDS, tolerance)
    paused = await pauses.pauses_in_force(access.session)
    return QueueView(
        depth=[DepthView.of(each) for each in depth if each.tenant_id == own],
        standing=[StandingView.of(each) for each in standing if each.tenant_id == own],
        pauses=[PauseView.of_pause(each) for each in paused if each.held.tenant_id == own],
    )


@router.post("/queue/pauses", status_code=status.HTTP_201_CREATED)
async def pause(new: NewPause, response: Response, access: _Managing) -> PauseView:
    """Lease no more sends of a server, an inbox, a priority or the whole tenant until the pause is taken back."""
    tenant_id = access.scope.tenant_id
    name = str(tenant_id) if new.subject is Subject.TENANT else new.of or ""
    held = await pauses.held_by(access.session, new.subject, name, tenant_id)
    in_force = await pauses.pause(access.session, held, new.reason)
    response.headers["Location"] = f"/api/v1/queue/pauses/{in_force.id}"
    return PauseView.of_pause(in_force)


@router.delete("/queue/pauses/{pause_id}", status_code=status.HTTP_204_NO_CONTENT)
async def resume(pause_id: uuid.UUID, access: _Managing) -> None:
    """Take a pause of the tenant's own back; what waits is leased at once."""
    await pauses.resume_by_id(access.session, pause_id, access.scope.tenant_id)
