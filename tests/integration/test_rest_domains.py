import uuid

import httpx
import pytest
from sqlalchemy import text

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
