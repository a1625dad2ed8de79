"""Dead letters: sends that their servers took again and again and never told of, for an operator to decide on.

Contents are not shown, and recipients masked unless asked for: an operator decides by what happened, not by what was
written.
"""

import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.operators import queue_control
from control_plane.operators.acts import Actor
from control_plane.operators.revealing import shows_addresses
from control_plane.operators.scopes import OperatorScope
from control_plane.queuer.dead_letters import DeadLetter, dead_letters, events_of, find_send
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage
from control_plane.rest.reasons import Because
from control_plane.rest.story_ids import CURSOR, INBOX, MESSAGE, MOMENT, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["dead letters"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_QUEUE)]
_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_QUEUE)]
#: Refused without addresses:reveal, and recorded.
Reveal = Annotated[bool, Query(description="Show recipients as they are; takes addresses:reveal, and is recorded.")]
_Act = Callable[[AsyncSession, Actor, Sequence[uuid.UUID], str | None], Awaitable[set[uuid.UUID]]]

_LETTER: JsonDict = {
    "id": MESSAGE,
    "tenant_id": TENANT,
    "vps_id": VPS,
    "inbox_id": INBOX,
    "state": "dead",
    "reason": "its server took it 5 times and never told of it",
    "recipient": "a…@e….net",
    "leases": 5,
    "accepted_at": MOMENT,
    "queued_at": MOMENT,
}
_EVENT: JsonDict = {"kind": "dead", "at": MOMENT, "applied": True, "detail": "its server took it 5 times"}


class LetterView(BaseModel):
    """A send that waits for an operator; `reason` is the error it stands with, and the recipient is masked."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _LETTER})

    id: uuid.UUID
    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    inbox_id: uuid.UUID | None
    state: str
    reason: str | None
    recipient: str
    leases: int
    accepted_at: dt.datetime
    queued_at: dt.datetime | None


class EventView(BaseModel):
    """Something that happened to it; `applied` is false for what came too late to change anything."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    at: dt.datetime
    applied: bool
    detail: str | None


class LetterDetail(LetterView):
    """A send that waits for an operator, with all that happened to it."""

    model_config = ConfigDict(json_schema_extra={"example": {**_LETTER, "events": [_EVENT]}})

    events: list[EventView]


class LetterPage(BaseModel):
    """A page of dead letters; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_LETTER], "next": CURSOR}})

    items: list[LetterView]
    next: str | None


@router.get("/queue/dead")
async def list_dead(access: _Reading, page: OperatorsPage, reveal: Reveal = False) -> LetterPage:
    """List dead letters, the oldest first."""
    letters = await dead_letters(access.session, page.after, page.limit)
    items = [LetterView.model_validate(letter) for letter in await _shown(access, letters, reveal=reveal)]
    return LetterPage(items=items, next=page.next_after([letter.id for letter in letters]))


@router.get("/queue/dead/{send_id}")
async def show_dead(send_id: uuid.UUID, access: _Reading, reveal: Reveal = False) -> LetterDetail:
    """Show a dead letter, or a send that failed, with its error and all that happened to it."""
    letter = await find_send(access.session, send_id)
    if letter is None or letter.state not in {"dead", "failed"}:
        raise NotFound("There is no such dead letter.")
    return await _detail(access, letter, reveal=reveal)


@router.post("/queue/dead/{send_id}:retry")
async def retry(send_id: uuid.UUID, access: _Managing, because: Because | None = None) -> LetterDetail:
    """Let a dead letter, or a failed send that Postfix never had, be leased again."""
    return await _act_on(send_id, access, queue_control.retry, because, "retried")


@router.post("/queue/dead/{send_id}:drop")
async def drop(send_id: uuid.UUID, access: _Managing, because: Because | None = None) -> LetterDetail:
    """End a dead letter: as uncertain, for its server never said what it did with it."""
    return await _act_on(send_id, access, queue_control.drop, because, "dropped")


async def _act_on(
    send_id: uuid.UUID, access: OperatorAccess, act: _Act, because: Because | None, done: str
) -> LetterDetail:
    """Do it and return the send as it is then; raise `NotFound`, or `Conflict` when its state does not allow it."""
    changed = await act(access.session, access.actor, [send_id], because.reason if because else None)
    letter = await find_send(access.session, send_id)
    if letter is None:
        raise NotFound("There is no such dead letter.")
    if send_id not in changed:
        raise Conflict(f"The send is {letter.state}, and as it is it cannot be {done}.")
    return await _detail(access, letter, reveal=False)


async def _detail(access: OperatorAccess, letter: DeadLetter, *, reveal: bool) -> LetterDetail:
    events = [EventView.model_validate(event) for event in await events_of(access.session, letter)]
    [shown] = await _shown(access, [letter], reveal=reveal)
    return LetterDetail(**LetterView.model_validate(shown).model_dump(), events=events)


async def _shown(access: OperatorAccess, letters: Sequence[DeadLetter], *, reveal: bool) -> list[DeadLetter]:
    """Return the letters with their recipients as the operator may see them; raise `Forbidden`."""
    ids = [letter.id for letter in letters]
    shows = await shows_addresses(access.session, access.actor, access.scopes, ids, reveal=reveal)
    return [replace(letter, recipient=shows(letter.recipient)) for letter in letters]
