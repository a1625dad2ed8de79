"""Pauses of servers, inboxes, tenants and priorities. What is not leased yet is held back; what is leased goes on."""

import uuid
from typing import Annotated, Self

from fastapi import APIRouter, Query, Response, status
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from control_plane.operators import queue_control
from control_plane.operators.scopes import OperatorScope
from control_plane.queuer.pauses import PauseInForce, Subject, pauses_in_force
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage, in_time
from control_plane.rest.queue import PauseView
from control_plane.rest.reasons import Reason
from control_plane.rest.story_ids import CURSOR, MOMENT, PAUSE, REASON, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["queue"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_QUEUE)]
_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_QUEUE)]

PAUSE_EXAMPLE: JsonDict = {
    "id": PAUSE,
    "subject": "vps",
    "of": VPS,
    "tenant_id": TENANT,
    "reason": REASON,
    "by_operator": True,
    "since": MOMENT,
}


class NewOperatorPause(BaseModel):
    """What to hold back."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"subject": "vps", "of": VPS, "reason": REASON}}
    )

    subject: Subject
    of: str = Field(max_length=36, description="The id of the server, inbox or tenant, or the priority's name.")
    tenant_id: uuid.UUID | None = Field(None, description="Whose priority; all tenants' when left out.")
    reason: Reason = None


class OperatorPauseView(PauseView):
    """A pause in force; a priority without a tenant is paused for all."""

    model_config = ConfigDict(json_schema_extra={"example": PAUSE_EXAMPLE})

    tenant_id: uuid.UUID | None

    @classmethod
    def of_pause(cls, in_force: PauseInForce) -> Self:
        """Return what is shown of it."""
        shown = PauseView.of_pause(in_force).model_dump()
        if in_force.held.subject is Subject.TENANT:
            shown["of"] = str(in_force.held.tenant_id)
        return cls(tenant_id=in_force.held.tenant_id, **shown)


class OperatorPauses(BaseModel):
    """A page of pauses in force; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [PAUSE_EXAMPLE], "next": CURSOR}})

    items: list[OperatorPauseView]
    next: str | None


@router.get("/queue/pauses")
async def list_pauses(access: _Reading, page: OperatorsPage) -> OperatorPauses:
    """List what is paused, by operators and by tenants, the oldest first."""
    found = await pauses_in_force(access.session, page.behind(uuid.UUID), page.limit)
    return OperatorPauses(
        items=[OperatorPauseView.of_pause(each) for each in found],
        next=page.next_after([in_time(each.created_at, each.id) for each in found]),
    )


@router.post("/queue/pauses", status_code=status.HTTP_201_CREATED)
async def pause(new: NewOperatorPause, response: Response, access: _Managing) -> OperatorPauseView:
    """Lease no more sends of a server, an inbox, a tenant or a priority until the pause is taken back.

    What is paused by an operator already stays as it is, and its pause is the answer.
    """
    in_force = await queue_control.pause(
        access.session, access.actor, new.subject, new.of, tenant_id=new.tenant_id, reason=new.reason
    )
    response.headers["Location"] = f"/operator/v1/queue/pauses/{in_force.id}"
    return OperatorPauseView.of_pause(in_force)


@router.delete("/queue/pauses/{pause_id}", status_code=status.HTTP_204_NO_CONTENT)
async def resume(
    pause_id: uuid.UUID,
    access: _Managing,
    reason: Annotated[Reason, Query(examples=[REASON])] = None,
) -> None:
    """Take an operator's pause back; what waits is leased at once. A tenant's own is the tenant's to take back."""
    await queue_control.resume_by_id(access.session, access.actor, pause_id, reason)
