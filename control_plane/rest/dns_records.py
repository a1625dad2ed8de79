"""The DNS records that an inbox depends on: their verification, what a repair would change, and the repair."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Request, status
from pydantic import BaseModel

from control_plane.dns.plan import ZonePlan
from control_plane.dns.preview import preview
from control_plane.dns.resolve import NoAnswer
from control_plane.dns.verify import verify_inbox
from control_plane.errors import NotFound, Unavailable
from control_plane.inboxes.load import load_dns_records, load_domain, load_inbox
from control_plane.provisioning.repairs import request_repair
from control_plane.rest.access import Access, identity, transaction
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.runs import RunView, load_last_run
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from db.models import DnsRecordRow

router = APIRouter(prefix="/inboxes/{inbox_id}/dns-records", tags=["dns"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
# No session is held while name servers are asked.
_Verifying = Annotated[TenantScope, identity(Permission.MANAGE_INBOXES)]
_Looking = Annotated[TenantScope, identity(Permission.READ_INBOXES)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_INBOXES)]


class RecordView(BaseModel):
    """One record to publish. `name` is relative to `zone`, `@` for the zone itself.

    `status` is pending, verified, mismatch or drifted (it was verified before); `problem` names what is wrong, and
    `detail` says what was found and how to go on.
    """

    type: str
    zone: str
    name: str
    value: str
    ttl: int
    status: str
    problem: str | None
    detail: str | None
    last_verified_at: dt.datetime | None


class Records(BaseModel):
    """All records of an inbox; false for an inbox whose records are not known yet."""

    records: list[RecordView]
    all_verified: bool


class ChangeView(BaseModel):
    """What would become of one RRset: the values that would go, and those that would come."""

    type: str
    name: str
    removed: list[str]
    added: list[str]


class ConflictView(BaseModel):
    """A record that would be left out, what stands in its way, and how to go on."""

    type: str
    name: str
    value: str
    found: list[str]
    problem: str | None
    remedy: str


class PlanView(BaseModel):
    """What repairing would change in the domain's zone; nothing of others is ever taken away."""

    zone: str
    changes: list[ChangeView]
    conflicts: list[ConflictView]


@router.get("")
async def show(inbox_id: uuid.UUID, access: _Reading) -> Records:
    """Show the records and what the last verification found."""
    await load_inbox(access.session, access.scope, inbox_id)
    return _view(await load_dns_records(access.session, access.scope, inbox_id))


@router.post("/verify")
async def verify(inbox_id: uuid.UUID, request: Request, scope: _Verifying) -> Records:
    """Ask the zones' own name servers now, and show what they said."""
    parts = parts_of(request)
    async with parts.database.tenant(scope.reach) as session:
        await load_inbox(session, scope, inbox_id)
    await verify_inbox(parts.database, inbox_id, scope.tenant_id, parts.settings.nameservers)
    async with parts.database.tenant(scope.reach) as session:
        return _view(await load_dns_records(session, scope, inbox_id))


@router.get("/plan")
async def plan(inbox_id: uuid.UUID, request: Request, scope: _Looking) -> PlanView:
    """Show what a repair would change, from what the zone's own name servers answer now."""
    parts = parts_of(request)
    async with parts.database.tenant(scope.reach) as session:
        inbox = await load_inbox(session, scope, inbox_id)
        domain = await load_domain(session, scope, inbox.domain_id)
    try:
        found = await preview(parts.database, scope.tenant_id, domain.id, domain.name, parts.settings.nameservers)
    except NoAnswer as error:
        raise Unavailable(f"The zone's name servers do not say what is there: {error}") from error
    return _plan_view(found)


@router.post("/repair", status_code=status.HTTP_202_ACCEPTED)
async def repair(inbox_id: uuid.UUID, access: _Managing) -> RunView:
    """Write the plan into the zone and verify it, in the background; asked for again meanwhile, it is the same run."""
    await request_repair(access.session, access.scope, inbox_id)
    run = await load_last_run(access.session, access.scope, inbox_id)
    if run is None:
        raise NotFound("There is no such run.")
    return run


def _plan_view(plan: ZonePlan) -> PlanView:
    changes = [
        ChangeView(type=c.type, name=c.name, removed=sorted(c.before - c.after), added=sorted(c.after - c.before))
        for c in plan.changes
    ]
    conflicts = [
        ConflictView(
            type=c.record.type,
            name=c.record.name,
            value=c.record.value,
            found=list(c.found),
            problem=c.problem,
            remedy=c.remedy,
        )
        for c in plan.conflicts
    ]
    return PlanView(zone=plan.zone, changes=changes, conflicts=conflicts)


def _view(rows: Sequence[DnsRecordRow]) -> Records:
    records = [
        RecordView(
            type=row.record_type,
            zone=row.domain,
            name=row.record_name,
            value=row.record_value,
            ttl=row.ttl,
            status=row.verification_status,
            problem=row.problem,
            detail=row.verification_detail,
            last_verified_at=row.last_verified_at,
        )
        for row in rows
    ]
    return Records(records=records, all_verified=bool(records) and all(r.status == "verified" for r in records))
