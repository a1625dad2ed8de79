"""What a server is asked to do now, and its log.

An answer waits for the server, a while; no session is held meanwhile. A server that cannot be reached is said so, and
whether what was asked may have been done.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from control_plane.errors import Conflict, NotFound, PenguinError, Unavailable
from control_plane.fleet.commands import (
    CommandOrder,
    CommandState,
    await_command,
    command_state,
    request_command,
)
from control_plane.fleet.log_lines import masked
from control_plane.rest.access import Access, identity, transaction
from control_plane.rest.cursors import Listing
from control_plane.rest.pages import LONGEST_CURSOR, cursors_of
from control_plane.rest.parts import Parts, parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from db.models import VpsServer
from protos.agent.v1.commands_pb2 import Command, IssueCertificate, ReadMailLog, RestartMailServer

router = APIRouter(tags=["vps"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]
_Managing = Annotated[TenantScope, identity(Permission.MANAGE_SERVERS)]
_Watching = Annotated[TenantScope, identity(Permission.READ_SERVERS)]

#: How long a command may wait to be begun. A restart takes one or two seconds.
_LIFE = timedelta(seconds=10)
#: Seconds that an answer waits for the server: the life, and time to do it.
_PATIENCE_SECONDS = 25.0
_FOLLOWED_LINES = 500
_FOLLOW_PAUSE_SECONDS = 1.0
#: Seconds; whoever wants more asks again from where this ended.
_FOLLOW_SECONDS = 600.0


class LogQuery(BaseModel):
    """Which lines of the log."""

    model_config = ConfigDict(extra="forbid")

    lines: int = Field(100, ge=1, le=1000, description="How many lines at most.")
    after: str | None = Field(None, max_length=LONGEST_CURSOR, description="The `next` of an earlier answer.")
    follow: bool = Field(False, description="Go on as server-sent events.")


class CommandView(BaseModel):
    """Something a server was asked to do: waiting, sent, done, failed, refused, expired (never reached) or unknown."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    vps_id: uuid.UUID
    kind: str
    state: str
    detail: str | None


class LogPage(BaseModel):
    """Lines of the mail log; `next` is where it goes on, `truncated` says that more is there than was asked for."""

    lines: list[str]
    truncated: bool
    next: str | None


@router.post("/vps/{vps_id}/mail-server/restart", responses={202: {"model": CommandView}})
async def restart_mail_server(vps_id: uuid.UUID, request: Request, response: Response, scope: _Managing) -> CommandView:
    """Restart the mail server and say what came of it; 202 when that is not known yet."""
    command = Command(restart_mail_server=RestartMailServer())
    return await answer_with(parts_of(request), scope, vps_id, command, response)


@router.post("/vps/{vps_id}/certificate:renew", responses={202: {"model": CommandView}})
async def renew_certificate(vps_id: uuid.UUID, request: Request, response: Response, scope: _Managing) -> CommandView:
    """Have the server ask its certificate authority for another certificate; 409 where none is set.

    That is done in the background: `certificate` of `GET /vps/{id}` says how it stands. Where the provider's firewall
    keeps port 80 shut, it is opened first, within a minute or two. The server shows what it has until it has another.
    """
    command = Command(issue_certificate=IssueCertificate(renew=True))
    return await answer_with(parts_of(request), scope, vps_id, command, response)


@router.get("/vps/{vps_id}/commands/{command_id}")
async def get_command(vps_id: uuid.UUID, command_id: uuid.UUID, access: _Reading) -> CommandView:
    """Show what became of a command."""
    state = await command_state(access.session, access.scope.tenant_id, command_id)
    if state.vps_id != vps_id:
        raise NotFound("There is no such command.")
    return CommandView.model_validate(state)


@router.get("/vps/{vps_id}/logs", response_model=LogPage)
async def read_logs(
    vps_id: uuid.UUID, request: Request, scope: _Watching, query: Annotated[LogQuery, Query()]
) -> LogPage | Response:
    """Read the server's mail log, secrets masked; with `follow`, what is added to it comes as it is written."""
    parts = parts_of(request)
    listing = Listing.named(cursors_of(request), [str(scope.tenant_id), request.url.path], "query/after")

    async def read(lines: int, after: str | None) -> LogPage:
        place = "" if after is None else listing.place(after)
        state = await perform(parts, scope, vps_id, Command(read_mail_log=ReadMailLog(lines=lines, after=place)))
        shown = [masked(line) for line in (state.output or "").splitlines()]
        return LogPage(lines=shown, truncated=state.truncated, next=listing.cursor(state.next))

    first = await read(query.lines, query.after)
    if not query.follow:
        return first

    headers = {"Cache-Control": "no-store"}
    following = _as_events(first, partial(read, _FOLLOWED_LINES))
    return StreamingResponse(following, media_type="text/event-stream", headers=headers)


async def _as_events(page: LogPage, read_on: Callable[[str | None], Awaitable[LogPage]]) -> AsyncIterator[str]:
    """Yield each line as a server-sent event whose id is the place after its page, for as long as is allowed."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _FOLLOW_SECONDS
    while True:
        for line in page.lines:
            yield f"id: {page.next}\ndata: {line}\n\n"
        if not page.lines:
            yield ": nothing new\n\n"
        if loop.time() > end:
            yield "event: end\ndata: this has been followed for long enough; ask again from the last id\n\n"
            return
        if not page.truncated:
            await asyncio.sleep(_FOLLOW_PAUSE_SECONDS)
        try:
            page = await read_on(page.next)
        except PenguinError as problem:
            yield f"event: end\ndata: {problem.detail}\n\n"
            return


async def answer_with(
    parts: Parts, scope: TenantScope, vps_id: uuid.UUID, command: Command, response: Response
) -> CommandView:
    """Ask the server, and return what came of it; the response is 202 when that is not known yet."""
    state = await perform(parts, scope, vps_id, command)
    if not state.is_over:
        response.status_code = status.HTTP_202_ACCEPTED
        response.headers["Location"] = f"/api/v1/vps/{vps_id}/commands/{state.id}"
    return CommandView.model_validate(state)


async def perform(parts: Parts, scope: TenantScope, vps_id: uuid.UUID, command: Command) -> CommandState:
    """Ask the server and return how that stands; raise a problem when it was not done."""
    async with parts.database.tenant(scope.reach) as session:
        query = select(VpsServer.id).where(VpsServer.tenant_id == scope.tenant_id, VpsServer.id == vps_id)
        if await session.scalar(query) is None:
            raise NotFound("There is no such server.")
        order = CommandOrder(scope.tenant_id, vps_id, command, scope.actor, _LIFE)
        command_id = await request_command(session, order)
    state = await await_command(parts.database, scope.tenant_id, command_id, _PATIENCE_SECONDS)
    match state.state:
        case "refused":
            raise Conflict(f"The server refused: {state.detail}.")
        case "failed":
            raise Unavailable(f"The server tried and failed: {state.detail}.")
        case "expired":
            raise Unavailable("The server cannot be reached now; nothing was done.")
        case "unknown":
            raise Unavailable("The server was told and did not answer; it may have been done.")
    return state
