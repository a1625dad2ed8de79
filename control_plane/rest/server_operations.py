"""What is done to a server that is there. Each is a run, and `GET /vps/{id}` shows how far it is."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.drift import DriftPolicy, set_drift_policy
from control_plane.providers.base import Capability
from control_plane.provisioning.draining import request_drain, request_undrain
from control_plane.provisioning.power import PowerAction, request_power
from control_plane.provisioning.rebuilding import request_rebuild
from control_plane.rest.access import Access, transaction
from control_plane.rest.parts import Parts, parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.runs import RunView, load_run
from control_plane.rest.vps import ServerView, load_server
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope

router = APIRouter(tags=["vps"], route_class=ResourceRoute)

_Managing = Annotated[Access, transaction(Permission.MANAGE_SERVERS)]


class PowerOrder(BaseModel):
    """What to do with the power."""

    model_config = ConfigDict(extra="forbid")

    action: PowerAction = Field(description="`off` and `reset` cut the power at once; drain the server before.")


@router.post("/vps/{vps_id}/power", status_code=status.HTTP_202_ACCEPTED)
async def switch_power(
    vps_id: uuid.UUID, order: PowerOrder, request: Request, response: Response, access: _Managing
) -> RunView:
    """Have a server's power switched at its provider, in the background; 409 for what the provider cannot do."""
    capabilities = await _capabilities(access.session, access.scope, parts_of(request), vps_id)
    run_id = await request_power(
        access.session,
        tenant_id=access.scope.tenant_id,
        vps_id=vps_id,
        action=order.action,
        capabilities=capabilities,
    )
    response.headers["Location"] = f"/api/v1/vps/{vps_id}"
    return await load_run(access.session, access.scope, run_id)


@router.post("/vps/{vps_id}/rebuild", status_code=status.HTTP_202_ACCEPTED)
async def rebuild(vps_id: uuid.UUID, request: Request, response: Response, access: _Managing) -> RunView:
    """Have a server's system made anew, in the background; its name, addresses and mail stay.

    It is drained first. Then its mail server stands still until the mail is back; senders' servers try again meanwhile.
    A run that cannot keep the mail whole undoes itself before anything is destroyed. 409 for what the provider cannot
    do, and while something else is done to the server or mail of a domain moves there or away.
    """
    capabilities = await _capabilities(access.session, access.scope, parts_of(request), vps_id)
    run_id = await request_rebuild(
        access.session, tenant_id=access.scope.tenant_id, vps_id=vps_id, capabilities=capabilities
    )
    response.headers["Location"] = f"/api/v1/vps/{vps_id}"
    return await load_run(access.session, access.scope, run_id)


class ServerChanges(BaseModel):
    """What may be changed of a server."""

    model_config = ConfigDict(extra="forbid")

    drift_policy: DriftPolicy = Field(description="Whether files that somebody changed are put right or only shown.")


@router.patch("/vps/{vps_id}")
async def change_server(vps_id: uuid.UUID, changes: ServerChanges, access: _Managing) -> ServerView:
    """Change what is done about configuration that somebody edits on the server."""
    await set_drift_policy(access.session, access.scope.tenant_id, vps_id, changes.drift_policy)
    return ServerView.model_validate(await load_server(access.session, access.scope, vps_id))


@router.post("/vps/{vps_id}/drain", status_code=status.HTTP_202_ACCEPTED)
async def drain(vps_id: uuid.UUID, access: _Managing) -> ServerView:
    """Empty a server: it gets no new inboxes and no sends, while Postfix delivers what it has."""
    await request_drain(access.session, tenant_id=access.scope.tenant_id, vps_id=vps_id)
    return ServerView.model_validate(await load_server(access.session, access.scope, vps_id))


@router.post("/vps/{vps_id}/undrain", status_code=status.HTTP_202_ACCEPTED)
async def undrain(vps_id: uuid.UUID, access: _Managing) -> ServerView:
    """Use a server again that was being drained; one that is being removed cannot be kept."""
    await request_undrain(access.session, tenant_id=access.scope.tenant_id, vps_id=vps_id)
    return ServerView.model_validate(await load_server(access.session, access.scope, vps_id))


async def _capabilities(
    session: AsyncSession, scope: TenantScope, parts: Parts, vps_id: uuid.UUID
) -> frozenset[Capability]:
    """Return what the server's provider has: nothing, when this installation does not have the provider any more."""
    provider = parts.providers.get((await load_server(session, scope, vps_id)).provider)
    return provider.capabilities if provider else frozenset()
