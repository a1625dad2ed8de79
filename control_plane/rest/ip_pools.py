"""Further addresses of servers, pools of them, and the reputation of each."""

import datetime as dt
import ipaddress
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.pools.addresses import request_address, retire_address
from control_plane.pools.pools import addresses_of, change_pool, create_pool, delete_pool, list_pools, load_pool
from control_plane.pools.reputation import reputation_of
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from control_plane.tenancy.workspaces import require_workspace
from db.models import IpPool, ServerAddress, VpsServer

router = APIRouter(tags=["ip-pools"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_SERVERS)]

_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]
_Addresses = Annotated[list[uuid.UUID], Field(max_length=1000)]


class NewPool(BaseModel):
    """A pool to make. The default pool is that of the workspace's inboxes that name none."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    address_ids: _Addresses = []
    is_default: StrictBool = False


class PoolChanges(BaseModel):
    """What may be changed; what is left out stays. `address_ids` replaces all of them."""

    model_config = ConfigDict(extra="forbid")

    name: _Name = ""
    address_ids: _Addresses = []
    is_default: StrictBool = False


class AddressView(BaseModel):
    """A further address of a server; `hostname` is its PTR and what it says in HELO."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    vps_id: uuid.UUID
    address: ipaddress.IPv4Address | None
    hostname: str
    state: str
    state_reason: str | None
    created_at: dt.datetime


class DayView(BaseModel):
    """One day (UTC): messages delivered, attempts deferred, messages bounced, complaints."""

    model_config = ConfigDict(from_attributes=True)

    day: dt.date
    sent: int
    deferred: int
    bounced: int
    complained: int


class AddressDetail(AddressView):
    """An address with its reputation, newest day first, 30 at most."""

    reputation: list[DayView]


class AddressList(BaseModel):
    """A server's further addresses, without those that were given back or never had."""

    items: list[AddressView]


class PoolView(BaseModel):
    """A pool and its addresses."""

    id: uuid.UUID
    workspace_id: uuid.UUID
    name: str
    is_default: bool
    addresses: list[AddressView]
    created_at: dt.datetime


class PoolList(BaseModel):
    """A page of pools; `next` is what to send as `after` for the page that follows."""

    items: list[PoolView]
    next: str | None


@router.get("/workspaces/{workspace_id}/ip-pools")
async def list_of_workspace(workspace_id: uuid.UUID, access: _Reading, page: TenantsPage) -> PoolList:
    """List a workspace's pools."""
    await require_workspace(access.session, access.scope, workspace_id)
    pools = await list_pools(access.session, access.scope, workspace_id, page.after, page.limit)
    ids = [pool.id for pool in pools]
    addresses = await addresses_of(access.session, access.scope, ids)
    return PoolList(items=[_pool_view(pool, addresses.get(pool.id, [])) for pool in pools], next=page.next_after(ids))


@router.post("/workspaces/{workspace_id}/ip-pools", status_code=status.HTTP_201_CREATED)
async def create(workspace_id: uuid.UUID, body: NewPool, response: Response, access: _Managing) -> PoolView:
    """Make a pool of addresses of the workspace's servers."""
    await require_workspace(access.session, access.scope, workspace_id, hold=True)
    pool = await create_pool(
        access.session, access.scope, workspace_id, body.name, body.address_ids, is_default=body.is_default
    )
    response.headers["Location"] = f"/api/v1/workspaces/{workspace_id}/ip-pools/{pool.id}"
    return await _view(access, pool)


@router.get("/workspaces/{workspace_id}/ip-pools/{pool_id}")
async def show(workspace_id: uuid.UUID, pool_id: uuid.UUID, access: _Reading) -> PoolView:
    """Show a pool."""
    return await _view(access, await _pool_of(access, workspace_id, pool_id))


@router.patch("/workspaces/{workspace_id}/ip-pools/{pool_id}")
async def change(workspace_id: uuid.UUID, pool_id: uuid.UUID, body: PoolChanges, access: _Managing) -> PoolView:
    """Change a pool; its inboxes move in the background, each when its domain's SPF record lists its new address."""
    await _pool_of(access, workspace_id, pool_id)
    given = body.model_dump(exclude_unset=True)
    pool = await change_pool(
        access.session,
        access.scope,
        pool_id,
        name=given.get("name"),
        addresses=given.get("address_ids"),
        is_default=given.get("is_default"),
    )
    return await _view(access, pool)


@router.delete("/workspaces/{workspace_id}/ip-pools/{pool_id}", status_code=status.HTTP_204_NO_CONTENT)
async def remove(workspace_id: uuid.UUID, pool_id: uuid.UUID, access: _Managing) -> None:
    """Delete a pool that no inbox names; its addresses stay with their servers."""
    await _pool_of(access, workspace_id, pool_id)
    await delete_pool(access.session, access.scope, pool_id)


@router.get("/vps/{vps_id}/addresses")
async def list_addresses(vps_id: uuid.UUID, access: _Reading) -> AddressList:
    """List a server's further addresses."""
    server = select(VpsServer.id).where(VpsServer.tenant_id == access.scope.tenant_id, VpsServer.id == vps_id)
    if await access.session.scalar(server) is None:
        raise NotFound("There is no such server.")
    query = select(ServerAddress).where(
        ServerAddress.tenant_id == access.scope.tenant_id,
        ServerAddress.vps_id == vps_id,
        ServerAddress.state.not_in(("released", "failed")),
    )
    rows = (await access.session.scalars(query.order_by(ServerAddress.created_at))).all()
    return AddressList(items=_address_views(rows))


@router.post("/vps/{vps_id}/addresses", status_code=status.HTTP_202_ACCEPTED)
async def add_address(vps_id: uuid.UUID, response: Response, access: _Managing) -> AddressView:
    """Ask for one more address; its provider may charge for it. It is got, named and configured in the background."""
    address_id = await request_address(access.session, access.scope.tenant_id, vps_id)
    response.headers["Location"] = f"/api/v1/vps/{vps_id}/addresses/{address_id}"
    return AddressView.model_validate(await _load_address(access.session, access.scope, vps_id, address_id))


@router.get("/vps/{vps_id}/addresses/{address_id}")
async def show_address(vps_id: uuid.UUID, address_id: uuid.UUID, access: _Reading) -> AddressDetail:
    """Show an address and what became of what it sent."""
    address = await _load_address(access.session, access.scope, vps_id, address_id)
    days = await reputation_of(access.session, access.scope.tenant_id, address_id)
    return AddressDetail(
        **AddressView.model_validate(address).model_dump(),
        reputation=[DayView.model_validate(day) for day in days],
    )


@router.delete("/vps/{vps_id}/addresses/{address_id}", status_code=status.HTTP_202_ACCEPTED)
async def remove_address(vps_id: uuid.UUID, address_id: uuid.UUID, access: _Managing) -> AddressView:
    """Give an address back: nobody is bound to it, its mail goes out, then its PTR is removed and it is gone."""
    await retire_address(access.session, access.scope.tenant_id, vps_id, address_id)
    return AddressView.model_validate(await _load_address(access.session, access.scope, vps_id, address_id))


async def _pool_of(access: Access, workspace_id: uuid.UUID, pool_id: uuid.UUID) -> IpPool:
    pool = await load_pool(access.session, access.scope, pool_id)
    if pool.workspace_id != workspace_id:
        raise NotFound("There is no such pool.")
    return pool


async def _view(access: Access, pool: IpPool) -> PoolView:
    addresses = await addresses_of(access.session, access.scope, [pool.id])
    return _pool_view(pool, addresses.get(pool.id, []))


def _pool_view(pool: IpPool, addresses: Sequence[ServerAddress]) -> PoolView:
    return PoolView(
        id=pool.id,
        workspace_id=pool.workspace_id,
        name=pool.name,
        is_default=pool.is_default,
        addresses=_address_views(addresses),
        created_at=pool.created_at,
    )


def _address_views(rows: Sequence[ServerAddress]) -> list[AddressView]:
    return [AddressView.model_validate(row) for row in rows]


async def _load_address(
    session: AsyncSession, scope: TenantScope, vps_id: uuid.UUID, address_id: uuid.UUID
) -> ServerAddress:
    address = await session.scalar(
        select(ServerAddress).where(
            ServerAddress.tenant_id == scope.tenant_id,
            ServerAddress.vps_id == vps_id,
            ServerAddress.id == address_id,
        )
    )
    if address is None:
        raise NotFound("The server has no such address.")
    return address
