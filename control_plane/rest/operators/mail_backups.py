"""Where a tenant's mailboxes are backed up to. Backups are asked for and listed by commands (server_commands.py)."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import ConfigDict

from control_plane.fleet.mail_backups import show_target
from control_plane.operators import mail_backups
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.mail_backup_views import MailBackupsSet, MailBackupsView, NewMailBackups
from control_plane.rest.operators.access import OperatorAccess, operator_transaction, sealer_of
from control_plane.rest.reasons import Reason
from control_plane.rest.story_ids import REASON
from control_plane.rest.versioned_route import VersionedRoute

router = APIRouter(prefix="/tenants/{tenant_id}/mail-backups", tags=["tenants"], route_class=VersionedRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_TENANTS)]
_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_BACKUPS)]


class OperatorsMailBackups(NewMailBackups):
    """The same, with why; an operator may also name a folder below /mnt or /srv, where a server has a disk."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"repository": "/mnt/backups/penguin", "reason": REASON}}
    )

    reason: Reason = None


@router.get("")
async def show(tenant_id: uuid.UUID, access: _Reading) -> MailBackupsView:
    """Show where a tenant's mailboxes go; 404 where they are not backed up."""
    return MailBackupsView.model_validate(await show_target(access.session, tenant_id))


@router.put("")
async def set_place(
    tenant_id: uuid.UUID, new: OperatorsMailBackups, request: Request, response: Response, access: _Managing
) -> MailBackupsSet:
    """Have a tenant's mailboxes backed up there, each server's once a day."""
    sealer = sealer_of(request)
    done = await mail_backups.set_target(
        access.session, access.actor, sealer, tenant_id, new.wanted(), reason=new.reason
    )
    response.headers["Cache-Control"] = "no-store"
    return MailBackupsSet.of(await show_target(access.session, tenant_id), done)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
async def remove(tenant_id: uuid.UUID, access: _Managing) -> None:
    """Back nothing of the tenant up any more; what is there stays there."""
    await mail_backups.drop_target(access.session, access.actor, tenant_id)
