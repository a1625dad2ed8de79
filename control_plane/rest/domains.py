"""Sending domains and their DKIM keys.

A domain comes with its first inbox and goes with its last; one that was made by itself stays until it is deleted.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from sqlalchemy import select

from control_plane.dns.generate import records_of_domain
from control_plane.dns.mta_sts import MtaSts
from control_plane.dns.records import DkimRecordKey
from control_plane.errors import NotFound
from control_plane.inboxes.addresses import MAX_ADDRESS, MAX_DOMAIN, parse_address, parse_domain
from control_plane.inboxes.dkim_rotation import request_rotation
from control_plane.inboxes.domains import refuse_platforms_own
from control_plane.inboxes.kept_domains import delete_domain, keep_domain
from control_plane.inboxes.load import list_domains, load_domain
from control_plane.provisioning.domain_extras import change_extras, seen_policy
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.runs import RunView, load_last_run
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.workspaces import require_workspace
from db.models import DkimKeyRow, Domain

router = APIRouter(prefix="/domains", tags=["domains"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_INBOXES)]


class DkimKeyView(BaseModel):
    """A key: `next` is being published, `active` signs, `retiring` still verifies, `withdrawn` leaves the zone."""

    model_config = ConfigDict(from_attributes=True)

    selector: str
    state: str
    created_at: dt.datetime
    activated_at: dt.datetime
    retired_at: dt.datetime | None


class DomainView(BaseModel):
    """A sending domain."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    workspace_id: uuid.UUID | None
    kept: bool = Field(description="Whether it stays when its last inbox goes.")
    created_at: dt.datetime


class NewDomain(BaseModel):
    """A domain to send from, before it has inboxes."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=MAX_DOMAIN)
    workspace_id: uuid.UUID | None = Field(None, description="Whose members see it; without, the tenant's own.")


class ZoneRecord(BaseModel):
    """A record that the domain's zone needs; `name` is relative to the zone, `@` for itself."""

    model_config = ConfigDict(from_attributes=True)

    type: str
    name: str
    value: str
    ttl: int


class DomainDetail(DomainView):
    """A domain with its keys and the last run that changed them, and its records.

    `records` is what its zone should have; MX and SPF are among them once there is an inbox, whose server they name.
    What was found in the zone is at the inboxes' dns-records.
    `tls_reports_to` is where other mail servers report how TLS went (RFC 8460); with `client_records`, mail programs
    find its servers by themselves (RFC 6186). With `client_settings` Thunderbird and Outlook are told over HTTPS where
    its mailboxes are and how to log in, while all of them are on one server. `mta_sts` is what its servers promise to
    other mail servers (RFC 8461); `mta_sts_seen` says whether the policy, as it is now, was seen as those see it, and
    `mta_sts_detail` what was wrong.
    """

    tls_reports_to: str | None
    client_records: bool
    client_settings: bool
    mta_sts: MtaSts
    mta_sts_seen: bool
    mta_sts_looked_at: dt.datetime | None
    mta_sts_detail: str | None
    dkim_keys: list[DkimKeyView]
    rotation: RunView | None
    records: list[ZoneRecord]


class DomainPatch(BaseModel):
    """What to change; what is left out stays. With null no reports are asked for.

    An MTA-STS policy is enforced only once it was seen in testing.
    """

    model_config = ConfigDict(extra="forbid")

    tls_reports_to: Annotated[str, Field(max_length=MAX_ADDRESS)] | None = None
    client_records: StrictBool = False
    client_settings: StrictBool = False
    mta_sts: MtaSts = MtaSts.NONE


class DomainList(BaseModel):
    """A page of domains; `next` is what to send as `after` for the page that follows."""

    items: list[DomainView]
    next: str | None


@router.get("")
async def list_of_tenant(
    access: _Reading, page: TenantsPage, name: Annotated[str | None, Query(max_length=MAX_DOMAIN)] = None
) -> DomainList:
    """List the tenant's domains."""
    named = None if name is None else parse_domain(name, "query/name")
    domains = await list_domains(access.session, access.scope, named, page.after, page.limit)
    return DomainList(
        items=[DomainView.model_validate(domain) for domain in domains],
        next=page.next_after([domain.id for domain in domains]),
    )


@router.post("", status_code=status.HTTP_201_CREATED)
async def add(body: NewDomain, request: Request, response: Response, access: _Managing) -> DomainDetail:
    """Make a domain that stays without inboxes too, with a DKIM key. One that is there already stays from now on.

    Publish its records, or wait for the first inbox: what its DNS host lets us write is written then.
    """
    parts, name = parts_of(request), parse_domain(body.name, "/name")
    refuse_platforms_own(name, parts.settings.platform_domain)
    if body.workspace_id is not None:
        await require_workspace(access.session, access.scope, body.workspace_id, hold=True)
    domain_id = await keep_domain(access.session, access.scope, name, parts.sealer, body.workspace_id)
    response.headers["Location"] = f"/api/v1/domains/{domain_id}"
    return await _detail(access, await load_domain(access.session, access.scope, domain_id))


@router.delete("/{domain_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(domain_id: uuid.UUID, access: _Managing) -> None:
    """Delete a domain; 409 while it has inboxes. With the last of them our records were taken out of its zone."""
    await delete_domain(access.session, access.scope, domain_id)


@router.get("/{domain_id}")
async def show(domain_id: uuid.UUID, access: _Reading) -> DomainDetail:
    """Show a domain, what each of its DKIM keys is doing, and how far a change of keys has come."""
    return await _detail(access, await load_domain(access.session, access.scope, domain_id))


@router.patch("/{domain_id}")
async def change(domain_id: uuid.UUID, body: DomainPatch, access: _Managing) -> DomainDetail:
    """Choose which further records the domain has. They are published and verified in the background, like the rest."""
    changes = body.model_dump(exclude_unset=True)
    if body.tls_reports_to is not None:
        changes["tls_reports_to"] = str(parse_address(body.tls_reports_to, "/tls_reports_to"))
    return await _detail(access, await change_extras(access.session, access.scope, domain_id, changes))


@router.post("/{domain_id}/dkim:rotate", status_code=status.HTTP_202_ACCEPTED)
async def rotate(domain_id: uuid.UUID, access: _Managing) -> RunView:
    """Change the domain's DKIM key in the background, without a gap; asked for again meanwhile, it is the same run."""
    await request_rotation(access.session, access.scope.tenant_id, domain_id)
    run = await load_last_run(access.session, access.scope, domain_id)
    if run is None:
        raise NotFound("There is no such run.")
    return run


async def _detail(access: Access, domain: Domain) -> DomainDetail:
    keys = await _keys(access, domain)
    published = [DkimRecordKey(key.selector, key.public_key) for key in keys if key.state != "withdrawn"]
    return DomainDetail(
        **DomainView.model_validate(domain).model_dump(),
        tls_reports_to=domain.tls_reports_to,
        client_records=domain.client_records,
        client_settings=domain.client_settings,
        mta_sts=MtaSts(domain.mta_sts),
        mta_sts_seen=await seen_policy(access.session, domain),
        mta_sts_looked_at=domain.mta_sts_looked_at,
        mta_sts_detail=domain.mta_sts_detail,
        dkim_keys=[DkimKeyView.model_validate(key) for key in keys],
        rotation=await load_last_run(access.session, access.scope, domain.id),
        records=[
            ZoneRecord.model_validate(record)
            for record in await records_of_domain(access.session, domain.id, domain.name, published)
        ],
    )


async def _keys(access: Access, domain: Domain) -> Sequence[DkimKeyRow]:
    keys = select(DkimKeyRow).where(DkimKeyRow.tenant_id == access.scope.tenant_id, DkimKeyRow.domain_id == domain.id)
    return (await access.session.scalars(keys.order_by(DkimKeyRow.created_at, DkimKeyRow.selector))).all()
