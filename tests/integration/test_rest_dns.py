from collections.abc import Sequence

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from control_plane.dns import verify
from control_plane.rest.parts import Parts
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server

ZONE = {
    ("pinguin.example", "MX"): ("10 mx-1.penguin.example",),
    ("pinguin.example", "TXT"): ("v=spf1 ip4:10.77.1.1 ~all",),
}


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    server = await make_server(system_database, tenant)
    inbox = await make_inbox(system_database, tenant, server, status="pending_dns")
    record = text(
        "INSERT INTO dns_records (tenant_id, inbox_id, domain, record_type, record_name, record_value)"
        " VALUES (:tenant, :inbox, 'pinguin.example', :type, '@', :value)"
    )
    async with system_database.system() as session:
        for (_, type_), (value,) in ZONE.items():
            await session.execute(record, {"tenant": tenant.id, "inbox": inbox.id, "type": type_, "value": value})
    return inbox


async def test_records_are_shown_with_what_verification_found(rest_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    body = (await rest_client.get(f"inboxes/{inbox.id}/dns-records")).json()
    assert body["all_verified"] is False
    assert [(record["type"], record["name"], record["status"]) for record in body["records"]] == [
        ("MX", "@", "pending"),
        ("TXT", "@", "pending"),
    ]


async def test_an_inbox_without_records_is_not_verified(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    body = (await rest_client.get(f"inboxes/{inbox.id}/dns-records")).json()
    assert body == {"records": [], "all_verified": False}


async def test_verification_starts_now_and_holds_no_session_while_it_asks(
    rest_app: FastAPI, rest_client: httpx.AsyncClient, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: Parts = rest_app.state.parts
    pool = parts.database.engine.pool
    assert isinstance(pool, QueuePool)
    held: list[int] = []

    async def answer(fqdn: str, record_type: str, nameservers: Sequence[str], port: int) -> tuple[str, ...]:
        held.append(pool.checkedout())
        return ZONE[fqdn, record_type]

    monkeypatch.setattr(verify, "values_of", answer)
    body = (await rest_client.post(f"inboxes/{inbox.id}/dns-records/verify")).json()
    assert held == [0, 0]
    assert body["all_verified"] is True
    assert {record["status"] for record in body["records"]} == {"verified"}
    assert (await rest_client.get(f"inboxes/{inbox.id}")).json()["status"] == "ready"
