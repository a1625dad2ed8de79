import uuid

import httpx
import pytest
from sqlalchemy import text

from control_plane.dns.generate import generate_records, wanted_records
from control_plane.inboxes.domains import generate_dkim_key
from control_plane.sealing import Sealer
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import problem


@pytest.fixture
async def domain_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    key = generate_dkim_key("pm1", Sealer(bytes(32)))
    insert = text(
        "INSERT INTO dkim_keys (id, tenant_id, domain_id, selector, private_key_sealed, public_key)"
        " SELECT :key, tenant_id, domain_id, 'pm1', :sealed, :public FROM inboxes WHERE id = :inbox RETURNING domain_id"
    )
    values = {"key": key.id, "sealed": key.private_key_sealed, "public": key.public_key, "inbox": inbox.id}
    async with system_database.system() as session:
        found: uuid.UUID = (await session.execute(insert, values)).scalar_one()
    return found


async def test_a_domain_shows_its_keys_and_what_they_do(rest_client: httpx.AsyncClient, domain_id: uuid.UUID) -> None:
    listed = (await rest_client.get("domains")).json()
    shown = (await rest_client.get(f"domains/{domain_id}")).json()

    assert [item["id"] for item in listed["items"]] == [str(domain_id)]
    assert [(key["selector"], key["state"]) for key in shown["dkim_keys"]] == [("pm1", "active")]
    assert shown["rotation"] is None


async def test_a_rotation_is_one_run_however_often_it_is_asked_for(
    rest_client: httpx.AsyncClient, domain_id: uuid.UUID
) -> None:
    first = await rest_client.post(f"domains/{domain_id}/dkim:rotate")
    second = await rest_client.post(f"domains/{domain_id}/dkim:rotate")

    assert (first.status_code, first.json()["kind"]) == (202, "domain.rotate_dkim")
    assert second.json()["id"] == first.json()["id"]
    assert (await rest_client.get(f"domains/{domain_id}")).json()["rotation"]["id"] == first.json()["id"]


async def test_another_tenants_domain_is_not_there(other_client: httpx.AsyncClient, domain_id: uuid.UUID) -> None:
    problem(await other_client.get(f"domains/{domain_id}"), 404, "not-found")
    problem(await other_client.post(f"domains/{domain_id}/dkim:rotate"), 404, "not-found")
    assert (await other_client.get("domains")).json()["items"] == []


async def test_further_records_are_chosen_and_published_in_the_background(
    rest_client: httpx.AsyncClient, system_database: Database, domain_id: uuid.UUID
) -> None:
    asked = {"tls_reports_to": "TLS@Acme.example", "client_records": True}
    changed = await rest_client.patch(f"domains/{domain_id}", json=asked)
    again = await rest_client.patch(f"domains/{domain_id}", json={"client_records": True})

    assert changed.status_code == 200, changed.text
    assert (changed.json()["tls_reports_to"], changed.json()["client_records"]) == ("TLS@acme.example", True)
    assert again.json() == changed.json() == (await rest_client.get(f"domains/{domain_id}")).json()
    assert await _repairs(system_database, domain_id) == 1
    async with system_database.system() as session:
        ((_, records),) = (await wanted_records(session, domain_id)).items()
    assert {r.name for r in records} >= {"_smtp._tls", "_imaps._tcp", "_submissions._tcp", "_submission._tcp"}


async def test_further_records_that_are_not_wanted_any_more_are_withdrawn(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, domain_id: uuid.UUID
) -> None:
    await rest_client.patch(f"domains/{domain_id}", json={"tls_reports_to": "a@acme.example", "client_records": True})
    async with system_database.system() as session:
        await generate_records(session, tenant.id, domain_id)
    gone = await rest_client.patch(f"domains/{domain_id}", json={"tls_reports_to": None, "client_records": False})
    async with system_database.system() as session:
        await generate_records(session, tenant.id, domain_id)
        left = await session.scalars(text("SELECT record_name FROM dns_records"))

    assert (gone.json()["tls_reports_to"], gone.json()["client_records"]) == (None, False)
    assert await _repairs(system_database, domain_id) == 2
    assert not {"_smtp._tls", "_imaps._tcp"} & set(left)


async def test_reports_can_be_sent_to_addresses_only(rest_client: httpx.AsyncClient, domain_id: uuid.UUID) -> None:
    for address in ("nobody", "a@acme.example; p=reject", "a b@acme.example"):
        refused = await rest_client.patch(f"domains/{domain_id}", json={"tls_reports_to": address})
        problem(refused, 422, "invalid-input")


async def test_another_tenants_domain_cannot_be_given_records(
    other_client: httpx.AsyncClient, domain_id: uuid.UUID
) -> None:
    problem(await other_client.patch(f"domains/{domain_id}", json={"client_records": True}), 404, "not-found")


async def _repairs(system_database: Database, domain_id: uuid.UUID) -> int:
    count = text(
        "SELECT count(*) FROM pipeline_runs r JOIN inboxes i ON i.id = r.subject_id"
        " WHERE i.domain_id = :domain AND r.kind = 'inbox.repair_dns'"
    )
    async with system_database.system() as session:
        found: int = (await session.execute(count, {"domain": domain_id})).scalar_one()
    return found
