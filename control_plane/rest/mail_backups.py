"""Where the tenant's mailboxes are backed up to, and its servers' backups of them.

SECURITY: root of the tenant's servers speaks to the place that is named here. So it is one across the network, by HTTPS
and of a host that may be public; folders of a server, and hosts of the platform's own network, are operators' to name.
"""

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Annotated

import httpx
from fastapi import APIRouter, Query, Request, Response, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.config import JsonDict

from control_plane.errors import InvalidInput, Unavailable
from control_plane.fleet.mail_backups import drop_target, set_target, show_target
from control_plane.rest.access import Access, identity, transaction
from control_plane.rest.mail_backup_views import MailBackupsSet, MailBackupsView, NewMailBackups
from control_plane.rest.pages import TenantsPage, in_time
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.server_commands import CommandView, answer_with, perform
from control_plane.rest.story_ids import CURSOR, MOMENT
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from control_plane.webhooks.urls import may_be_public
from protos.agent.v1.commands_pb2 import BackUpMail, Command, ListMailBackups

router = APIRouter(tags=["mail-backups"], route_class=ResourceRoute)

_Managing = Annotated[Access, transaction(Permission.MANAGE_TENANT)]
_Running = Annotated[TenantScope, identity(Permission.MANAGE_SERVERS)]
_Listing = Annotated[TenantScope, identity(Permission.READ_INBOXES)]

#: Of object stores whose hosts are their makers'.
_MAKERS = ("b2:", "azure:")
_BACKUP: JsonDict = {"id": "7f3a2c91", "at": MOMENT, "inbox": "hello@shop.example"}


class BackupView(BaseModel):
    """A mailbox as it was at one time."""

    model_config = ConfigDict(json_schema_extra={"example": _BACKUP})

    id: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]+$")]
    at: AwareDatetime
    inbox: str


class BackupList(BaseModel):
    """A page of backups; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_BACKUP], "next": CURSOR}})

    items: list[BackupView]
    next: str | None


_SAID = TypeAdapter(list[BackupView])
_OfInbox = Annotated[
    str,
    Query(
        max_length=318, pattern=r"^([a-z0-9_.-]+@[a-z0-9.-]+)?$", description="Of which mailbox; of all when left out."
    ),
]


@router.get("/tenant/mail-backups")
async def show(access: _Managing) -> MailBackupsView:
    """Show where the tenant's mailboxes go; 404 where they are not backed up."""
    return MailBackupsView.model_validate(await show_target(access.session, access.scope.tenant_id))


@router.put("/tenant/mail-backups")
async def set_place(new: NewMailBackups, request: Request, response: Response, access: _Managing) -> MailBackupsSet:
    """Have the tenant's mailboxes backed up there, each server's once a day."""
    parts, tenant_id = parts_of(request), access.scope.tenant_id
    require_place(new.repository, private_targets=parts.settings.webhook_private_targets)
    done = await set_target(access.session, parts.sealer, tenant_id, new.wanted())
    response.headers["Cache-Control"] = "no-store"
    return MailBackupsSet.of(await show_target(access.session, tenant_id), done)


@router.delete("/tenant/mail-backups", status_code=status.HTTP_204_NO_CONTENT)
async def remove(access: _Managing) -> None:
    """Back nothing up any more; what is there stays there."""
    await drop_target(access.session, access.scope.tenant_id)


@router.post("/vps/{vps_id}/mail-backups:run", responses={202: {"model": CommandView}})
async def run(vps_id: uuid.UUID, request: Request, response: Response, scope: _Running) -> CommandView:
    """Have a server begin a backup of all its mailboxes; the check `mail_backup` of its health says what came of it."""
    return await answer_with(parts_of(request), scope, vps_id, Command(back_up_mail=BackUpMail()), response)


@router.get("/vps/{vps_id}/mail-backups")
async def list_backups(
    vps_id: uuid.UUID, request: Request, scope: _Listing, page: TenantsPage, inbox: _OfInbox = ""
) -> BackupList:
    """List what backups there are of a server's mailboxes, oldest first; 503 when it does not say so in time.

    It is asked again for each page.
    """
    state = await perform(parts_of(request), scope, vps_id, Command(list_mail_backups=ListMailBackups(address=inbox)))
    if state.output is None:
        raise Unavailable("The server has not answered yet; ask again, for one mailbox when there are many.")
    try:
        said = _SAID.validate_json(state.output)
    except ValidationError:
        raise Unavailable("The server's answer is no list of backups.") from None
    items = _behind(said, page.behind(str))[: page.limit]
    return BackupList(items=items, next=page.next_after([in_time(item.at, item.id) for item in items]))


def require_place(repository: str, *, private_targets: bool) -> None:
    """Raise `InvalidInput` for a place that is not a tenant's to name. Pure.

    With `private_targets` (a local installation's tests) any host will do.
    """
    kind, _, rest = repository.partition(":")
    if repository.startswith(_MAKERS):
        return
    try:
        url = httpx.URL(rest)
        scheme, host = url.scheme, url.host
    except (httpx.InvalidURL, UnicodeError):  # the latter for what is no A-label
        scheme = host = ""
    schemes = ("https", "http") if private_targets else ("https",)
    if kind not in {"rest", "s3"} or scheme not in schemes or not host:
        raise InvalidInput("The place must be rest:https://, s3:https://, b2: or azure:.", "/repository")
    if not private_targets and not may_be_public(host):
        raise InvalidInput("The place must be at a public address.", "/repository")


def _behind(said: Iterable[BackupView], place: tuple[dt.datetime, str] | None) -> list[BackupView]:
    ordered = sorted(said, key=_place)
    return [each for each in ordered if place is None or _place(each) > place]


def _place(backup: BackupView) -> tuple[dt.datetime, str]:
    return backup.at, backup.id
