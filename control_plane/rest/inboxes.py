"""Inboxes: create, list, show, change, remove."""

import datetime as dt
import decimal
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from control_plane.errors import InvalidInput, NotFound
from control_plane.inboxes.addresses import MAX_ADDRESS, EmailAddress, parse_mailbox_address
from control_plane.inboxes.change import begin_removal, change_inbox
from control_plane.inboxes.create import NewInbox, create_inbox
from control_plane.inboxes.domains import refuse_platforms_own, server_of_domain
from control_plane.inboxes.header_text import check_header_text
from control_plane.inboxes.load import InboxFilter, InboxStatus, list_inboxes, load_inbox
from control_plane.inboxes.moves import request_move
from control_plane.inboxes.placement import ServerWish, newest_server, require_server
from control_plane.messages.cancel import cancel_waiting_sends
from control_plane.pools.pools import assign_pool
from control_plane.pools.senders import load_sending, start_bindings
from control_plane.provisioning.mailbox_quota import MAX_QUOTA_MB, set_quota
from control_plane.rest.access import Access, transaction
from control_plane.rest.orders import ServerOrder, order_server
from control_plane.rest.pages import TenantsPage
from control_plane.rest.parts import Parts, parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.runs import RunView, load_last_run
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.workspaces import require_workspace

router = APIRouter(tags=["inboxes"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_INBOXES)]

_DisplayName = Annotated[str, Field(max_length=255)]


class NewInboxBody(BaseModel):
    """An inbox to create.

    It goes to the server `vps_id`; without one, to the server that its domain's mail goes to already, or else to the
    workspace's newest one of that provider and size. When there is none, one is provisioned.
    """

    model_config = ConfigDict(extra="forbid")

    email_address: str = Field(max_length=320)
    display_name: _DisplayName | None = None
    vps_provider: str | None = Field(None, max_length=50)
    vps_size: str | None = Field(None, max_length=50)
    vps_id: uuid.UUID | None = None


class InboxChanges(BaseModel):
    """What may be changed; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    display_name: _DisplayName | None = None
    daily_send_limit: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 0
    warmup_enabled: StrictBool = False
    quota_mb: Annotated[StrictInt, Field(ge=1, le=MAX_QUOTA_MB)] | None = Field(
        None, description="How much mail the mailbox holds, in MiB; with null, as much as its server does."
    )
    #: With null the workspace's default pool, if it has one.
    ip_pool_id: uuid.UUID | None = None


class InboxView(BaseModel):
    """An inbox as its row says."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    workspace_id: uuid.UUID
    email_address: str
    display_name: str | None
    vps_id: uuid.UUID | None
    smtp_config: dict[str, Any] | None
    imap_config: dict[str, Any] | None
    warmup_enabled: bool
    warmup_status: str
    daily_send_limit: int
    quota_mb: int | None
    reputation_score: decimal.Decimal
    status: str
    status_reason: str | None
    created_at: dt.datetime
    updated_at: dt.datetime


class InboxCreated(InboxView):
    """A new inbox. Its password is shown here and never again."""

    password: str


class SendingView(BaseModel):
    """By which pool and address the inbox sends; no address means its server's own. `warning` says what is amiss."""

    model_config = ConfigDict(from_attributes=True)

    pool: str | None
    address: str | None
    warning: str | None


class InboxDetail(InboxView):
    """An inbox with the run that sets it up or removes it, and how it sends."""

    setup: RunView | None
    sending: SendingView


class InboxList(BaseModel):
    """A page of inboxes; `next` is what to send as `after` for the page that follows."""

    items: list[InboxView]
    next: str | None


@router.post("/workspaces/{workspace_id}/inboxes", status_code=status.HTTP_201_CREATED)
async def create(
    workspace_id: uuid.UUID, body: NewInboxBody, request: Request, response: Response, access: _Managing
) -> InboxCreated:
    """Create an inbox; it is set up in the background, and ready when its DNS records are verified."""
    parts = parts_of(request)
    address = _own_address(body.email_address, parts.settings.platform_domain)
    display_name = check_header_text(body.display_name, "/display_name") if body.display_name else None
    await require_workspace(access.session, access.scope, workspace_id, hold=True)
    vps_id = await _place(access, parts, workspace_id, address.domain, body)
    new = NewInbox(workspace_id, vps_id, address, display_name)
    created = await create_inbox(access.session, access.scope, new, parts.sealer)
    await start_bindings(access.session, access.scope.tenant_id, [created.id])
    inbox = await load_inbox(access.session, access.scope, created.id)
    response.headers["Location"] = f"/api/v1/inboxes/{created.id}"
    return InboxCreated(**InboxView.model_validate(inbox).model_dump(), password=created.password)


@router.get("/workspaces/{workspace_id}/inboxes")
async def list_of_workspace(
    workspace_id: uuid.UUID,
    access: _Reading,
    page: TenantsPage,
    status: InboxStatus | None = None,
    email_address: Annotated[str | None, Query(max_length=MAX_ADDRESS)] = None,
) -> InboxList:
    """List a workspace's inboxes."""
    named = None if email_address is None else str(parse_mailbox_address(email_address, "query/email_address"))
    await require_workspace(access.session, access.scope, workspace_id)
    wanted = InboxFilter(workspace_id, status, named)
    inboxes = await list_inboxes(access.session, access.scope, wanted, page.after, page.limit)
    return InboxList(
        items=[InboxView.model_validate(inbox) for inbox in inboxes],
        next=page.next_after([inbox.id for inbox in inboxes]),
    )


@router.get("/inboxes/{inbox_id}")
async def show(inbox_id: uuid.UUID, access: _Reading) -> InboxDetail:
    """Show an inbox and how far its setup has come."""
    inbox = await load_inbox(access.session, access.scope, inbox_id)
    return InboxDetail(
        **InboxView.model_validate(inbox).model_dump(),
        setup=await load_last_run(access.session, access.scope, inbox_id),
        sending=SendingView.model_validate(await load_sending(access.session, access.scope.tenant_id, inbox_id)),
    )


@router.patch("/inboxes/{inbox_id}")
async def change(inbox_id: uuid.UUID, body: InboxChanges, access: _Managing) -> InboxView:
    """Change an inbox's name, limits, quota or IP pool. Mail beyond the quota waits at the server, for two days."""
    changes = body.model_dump(exclude_unset=True, exclude={"ip_pool_id", "quota_mb"})
    if body.display_name:
        changes["display_name"] = check_header_text(body.display_name, "/display_name")
    inbox = await change_inbox(access.session, access.scope, inbox_id, changes)
    if "quota_mb" in body.model_fields_set:
        await set_quota(access.session, inbox, body.quota_mb)
    if "ip_pool_id" in body.model_fields_set:
        await assign_pool(access.session, access.scope, inbox.workspace_id, inbox_id, body.ip_pool_id)
    return InboxView.model_validate(inbox)


@router.delete("/inboxes/{inbox_id}", status_code=status.HTTP_202_ACCEPTED)
async def remove(inbox_id: uuid.UUID, access: _Managing) -> InboxView:
    """Remove an inbox in the background: its mailbox, its records, and its sends that nobody has taken yet."""
    inbox = await begin_removal(access.session, access.scope, inbox_id)
    await cancel_waiting_sends(access.session, access.scope, inbox_id, "The inbox was removed.")
    return InboxView.model_validate(inbox)


class MoveBody(BaseModel):
    """Where the domain's inboxes go: another server of the workspace."""

    model_config = ConfigDict(extra="forbid")

    vps_id: uuid.UUID


@router.post("/inboxes/{inbox_id}/move", status_code=status.HTTP_202_ACCEPTED)
async def move(inbox_id: uuid.UUID, body: MoveBody, access: _Managing) -> RunView:
    """Move an inbox, and all others of its domain, to another server with their mail; what comes meanwhile is kept.

    409 with what stands in the way, such as a rebuild of either server.
    """
    await request_move(access.session, access.scope, inbox_id, body.vps_id)
    run = await load_last_run(access.session, access.scope, inbox_id)
    if run is None:
        raise NotFound("There is no such run.")
    return run


def _own_address(address: str, platform_domain: str) -> EmailAddress:
    """Return the address, which must not lie where the platform names its servers."""
    parsed = parse_mailbox_address(address, "/email_address")
    refuse_platforms_own(parsed.domain, platform_domain)
    return parsed


async def _place(access: Access, parts: Parts, workspace_id: uuid.UUID, domain: str, body: NewInboxBody) -> uuid.UUID:
    """Return the server for a new inbox, asking for one when there is none."""
    named = body.vps_id or await server_of_domain(access.session, access.scope, domain)
    if named is not None:
        await require_server(access.session, access.scope, workspace_id, named)
        return named
    wish = ServerWish(body.vps_provider, body.vps_size)
    found = await newest_server(access.session, access.scope, workspace_id, wish)
    if found is not None:
        return found
    if body.vps_provider is None or body.vps_size is None:
        raise InvalidInput("The workspace has no server for it: say vps_provider and vps_size.", "/vps_provider")
    order = ServerOrder(workspace_id, body.vps_provider, body.vps_size, prefix="vps_")
    return await order_server(access.session, access.scope, parts, order)
