"""The periodic look at all tenants' records, where one of them is no end of it."""

import asyncio
import datetime as dt
import uuid

import pytest

from control_plane.dns import pending
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server


@pytest.fixture
async def inboxes(
    system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> dict[uuid.UUID, SomeTenant]:
    made = {}
    for owner in (tenant, other_tenant):
        server = await make_server(system_database, owner)
        for _ in range(2):
            made[(await make_inbox(system_database, owner, server, status="pending_dns")).id] = owner
    return made


async def test_an_inbox_that_cannot_be_verified_keeps_no_other_from_it(
    system_database: Database, inboxes: dict[uuid.UUID, SomeTenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[uuid.UUID, uuid.UUID] = {}
    broken, _, hanging, _ = inboxes

    async def verify(_database: Database, inbox_id: uuid.UUID, tenant_id: uuid.UUID, _nameservers: object) -> None:
        seen[inbox_id] = tenant_id
        if inbox_id == broken:
            raise RuntimeError("something nobody thought of")
        if inbox_id == hanging:
            await asyncio.Event().wait()

    monkeypatch.setattr(pending, "verify_inbox", verify)
    monkeypatch.setattr(pending, "_SECONDS", 0.2)
    async with asyncio.timeout(10):
        await pending.verify_due(system_database, (), dt.datetime.now(dt.UTC))

    assert seen == {inbox_id: owner.id for inbox_id, owner in inboxes.items()}


async def test_a_domain_whose_records_cannot_be_written_keeps_no_other_from_it(
    system_database: Database, inboxes: dict[uuid.UUID, SomeTenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[uuid.UUID] = []

    async def generate(_session: object, _tenant_id: uuid.UUID, domain_id: uuid.UUID) -> None:
        seen.append(domain_id)
        raise RuntimeError("something nobody thought of")

    monkeypatch.setattr(pending, "generate_records", generate)
    await pending.generate_missing(system_database)

    assert len(seen) == len(inboxes)
