"""The DNS records that an inbox depends on, and their verification."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel

from control_plane.dns.verify import verify_inbox
from control_plane.inboxes.load import load_dns_records, load_inbox
from control_plane.rest.access import Access, identity, transaction
from control_plane.rest.parts import parts_of
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from db.models import DnsRecordRow

router = APIRouter(prefix="/inboxes/{inbox_id}/dns-records", tags=["dns"])

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
# No session is held while name servers are asked.
_Verifying = Annotated[TenantScope, identity(Permission.MANAGE_INBOXES)]


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


@router.get("")
async def show(inbox_id: uuid.UUID, access: _Reading) -> Records:
    """Show the records and what the last verification found."""
    await load_inbox(access.session, access.scope, inbox_id)
    return _view(await load_dns_records(access.session, access.scope, inbox_id))


@router.post("/verify")
async def verify(inbox_id: uuid.UUID, request: Request, scope: _Verifying) -> Records:
    """Ask the zones' own name servers now, and show what they said."""
    parts = parts_of(request)
    async with parts.database.tenant(scope.tenant_id) as session:
        await load_inbox(session, scope, inbox_id)
    await verify_inbox(parts.database, inbox_id, scope.tenant_id, parts.settings.nameservers)
    async with parts.database.tenant(scope.tenant_id) as session:
        return _view(await load_dns_records(session, scope, inbox_id))


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
