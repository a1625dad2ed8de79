from collections.abc import Sequence

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from control_plane.dns import preview, verify
from control_plane.dns.resolve import NoAnswer
from control_plane.rest.parts import Parts
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import problem

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


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], tuple[str, ...]]:
    """What the name servers answer, by name and type; whatever is not in it is not there."""
    held: dict[tuple[str, str], tuple[str, ...]] = {}

    async def answer(fqdn: str, record_type: str, nameservers: Sequence[str]) -> tuple[str, ...]:
        return held.get((fqdn, record_type), ())

    async def asked(nameservers: Sequence[str], fqdn: str, record_type: str) -> tuple[str, ...]:
        return await answer(fqdn, record_type, nameservers)

    monkeypatch.setattr(preview, "values_of", answer)
    monkeypatch.setattr(preview, "ask", asked)
    return held


async def domain_of(system_database: Database, inbox: SomeInbox) -> str:
    async with system_database.system() as session:
        name: str = (
            await session.execute(
                text("SELECT d.name FROM domains d JOIN inboxes i ON i.domain_id = d.id WHERE i.id = :id"),
                {"id": inbox.id},
            )
        ).scalar_one()
    return name


async def test_a_plan_shows_what_would_come_and_what_stands_in_the_way(
    rest_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    zone: dict[tuple[str, str], tuple[str, ...]],
) -> None:
    domain = await domain_of(system_database, inbox)
    zone[domain, "TXT"] = ("v=spf1 mx -all", "site=1")
    zone[domain, "MX"] = ("10 mail.other.example",)

    response = await rest_client.get(f"inboxes/{inbox.id}/dns-records/plan")

    assert response.status_code == 200, response.text
    body = response.json()
    assert body["zone"] == domain
    assert {(c["type"], c["name"]): (c["removed"], c["added"]) for c in body["changes"]} == {
        ("TXT", "@"): (["v=spf1 mx -all"], ["v=spf1 ip4:10.77.1.1 mx -all"]),
        ("TXT", "_dmarc"): ([], [f"v=DMARC1; p=none; rua=mailto:dmarc@{domain}"]),
    }
    (conflict,) = body["conflicts"]
    assert conflict["problem"] == "mail_goes_elsewhere"
    assert conflict["found"] == ["10 mail.other.example"]
    assert "MX" in conflict["remedy"]


async def test_an_alias_in_the_way_is_named_in_the_plan(
    rest_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    zone: dict[tuple[str, str], tuple[str, ...]],
) -> None:
    domain = await domain_of(system_database, inbox)
    zone[domain, "CNAME"] = ("shop.other.example",)
    zone[domain, "MX"] = ("CNAME shop.other.example",)

    body = (await rest_client.get(f"inboxes/{inbox.id}/dns-records/plan")).json()

    assert [c["problem"] for c in body["conflicts"]] == ["alias_in_the_way"] * 2
    assert [(c["type"], c["name"]) for c in body["changes"]] == [("TXT", "_dmarc")]


async def test_name_servers_that_do_not_answer_make_no_plan(
    rest_client: httpx.AsyncClient, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object) -> tuple[str, ...]:
        raise NoAnswer("nobody answers")

    monkeypatch.setattr(preview, "values_of", silent)
    problem(await rest_client.get(f"inboxes/{inbox.id}/dns-records/plan"), 503, "unavailable")


async def test_a_repair_is_one_run_however_often_it_is_asked_for(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    path = f"inboxes/{inbox.id}/dns-records/repair"
    first, second = await rest_client.post(path), await rest_client.post(path)
    assert (first.status_code, first.json()["kind"]) == (202, "inbox.repair_dns")
    assert first.json()["id"] == second.json()["id"]


async def test_nobody_repairs_or_plans_for_another_tenant(other_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    problem(await other_client.post(f"inboxes/{inbox.id}/dns-records/repair"), 404, "not-found")
    problem(await other_client.get(f"inboxes/{inbox.id}/dns-records/plan"), 404, "not-found")
