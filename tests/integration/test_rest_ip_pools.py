"""Pools and addresses through the API, up to the runs that carry it out; those run in tests/flow/test_ip_pools.py."""

import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import Row, text

from control_plane.dns.generate import wanted_records
from control_plane.fleet.desired import load_desired_state
from control_plane.pools.overview import address_overview
from control_plane.pools.reputation import count_reputation
from control_plane.pools.senders import bind
from control_plane.sealing import Sealer
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.rest import pointers, problem

_SEALER = Sealer(bytes(32))


@pytest.fixture
def path(tenant: SomeTenant) -> str:
    return f"workspaces/{tenant.workspace_id}/ip-pools"


async def _rows(database: Database, query: str, **values: object) -> list[Row[Any]]:
    async with database.system() as session:
        return list(await session.execute(text(query), values))


async def _runs(database: Database) -> list[str]:
    return [row.kind for row in await _rows(database, "SELECT kind FROM pipeline_runs ORDER BY created_at, kind")]


async def _server(database: Database, tenant: SomeTenant) -> uuid.UUID:
    vps_id = await make_server(database, tenant)
    sealed = _SEALER.seal(b"sixteen-or-more-characters", f"vps_servers.probe_password:{vps_id}")
    async with database.system() as session:
        await session.execute(
            text("UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id"),
            {"sealed": sealed, "id": vps_id},
        )
    return vps_id


async def _ready(client: httpx.AsyncClient, database: Database, vps_id: uuid.UUID, last: int) -> uuid.UUID:
    """Ask for an address, and play the run that gets it."""
    answer = await client.post(f"vps/{vps_id}/addresses")
    assert answer.status_code == 202, answer.text
    async with database.system() as session:
        await session.execute(
            text("UPDATE server_addresses SET state = 'ready', address = CAST(:address AS inet) WHERE id = :id"),
            {"id": answer.json()["id"], "address": f"10.77.9.{last}"},
        )
    return uuid.UUID(answer.json()["id"])


async def _bind(database: Database, inbox: SomeInbox, address_id: uuid.UUID | None) -> None:
    async with database.system() as session:
        await bind(session, inbox.tenant.id, inbox.id, address_id)


async def test_an_address_is_named_after_its_server_and_got_by_a_run(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    answer = await rest_client.post(f"vps/{vps_id}/addresses")
    body = answer.json()

    assert (answer.status_code, body["state"], body["address"]) == (202, "requested", None)
    assert body["hostname"] == f"mx-{vps_id.hex[:8]}-a1.penguin.example"
    assert (await rest_client.get(answer.headers["location"].removeprefix("/api/v1/"))).json()["reputation"] == []
    assert await _runs(system_database) == ["address.add"]
    assert "1 further addresses" in problem(await rest_client.delete(f"vps/{vps_id}"), 409, "conflict")["detail"]
    problem(await rest_client.delete(f"vps/{vps_id}/addresses/{body['id']}"), 409, "conflict")


async def test_a_server_has_nine_further_addresses_at_most_and_none_before_it_is_ready(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    for _ in range(9):
        assert (await rest_client.post(f"vps/{vps_id}/addresses")).status_code == 202
    problem(await rest_client.post(f"vps/{vps_id}/addresses"), 409, "conflict")
    unready = await make_server(system_database, tenant, status="provisioning")
    problem(await rest_client.post(f"vps/{unready}/addresses"), 409, "conflict")


async def test_an_inbox_is_bound_by_a_run_and_says_until_then_that_it_is_about_to_move(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    vps_id = await _server(system_database, tenant)
    inbox = await make_inbox(system_database, tenant, vps_id)
    address = await _ready(rest_client, system_database, vps_id, 21)
    pool = (await rest_client.post(path, json={"name": "news", "address_ids": [str(address)]})).json()
    assert [each["id"] for each in pool["addresses"]] == [str(address)]
    answer = await rest_client.patch(f"inboxes/{inbox.id}", json={"ip_pool_id": pool["id"]})
    assert answer.status_code == 200, answer.text

    sending = (await rest_client.get(f"inboxes/{inbox.id}")).json()["sending"]
    assert (sending["pool"], sending["address"]) == ("news", None)
    assert "SPF" in sending["warning"]
    assert await _runs(system_database) == ["address.add", "inbox.bind_sender"]

    # SPF lists the address before anybody is bound to it, and the server has it before anybody sends by it.
    async with system_database.system() as session:
        (domain_id,) = await session.scalars(text("SELECT domain_id FROM inboxes"))
        values = {record.value for record in (await wanted_records(session, domain_id))[inbox.id]}
        before = await load_desired_state(session, vps_id, _SEALER, ["10.77.0.53"])
    assert "v=spf1 ip4:10.77.1.1 ip4:10.77.9.21 ~all" in values
    assert [(each.ipv4_address, list(each.senders)) for each in before.server.sending_addresses] == [("10.77.9.21", [])]

    await _bind(system_database, inbox, address)
    async with system_database.system() as session:
        (after,) = (await load_desired_state(session, vps_id, _SEALER, ["10.77.0.53"])).server.sending_addresses
        (overview,) = await address_overview(session)
        (mailbox,) = await session.scalars(text("SELECT email_address FROM inboxes"))
    assert list(after.senders) == [mailbox]
    assert (overview.senders, overview.pools, overview.address) == (1, ["news"], "10.77.9.21")
    sending = (await rest_client.get(f"inboxes/{inbox.id}")).json()["sending"]
    assert sending == {"pool": "news", "address": "10.77.9.21", "warning": None}


async def test_a_pool_without_an_address_on_the_inboxs_server_is_said_so(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    elsewhere = await _ready(rest_client, system_database, await make_server(system_database, tenant), 22)
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    body = {"name": "default", "address_ids": [str(elsewhere)], "is_default": True}
    assert (await rest_client.post(path, json=body)).status_code == 201

    sending = (await rest_client.get(f"inboxes/{inbox.id}")).json()["sending"]
    assert sending["address"] is None
    assert "no ready address" in sending["warning"]
    assert await _runs(system_database) == ["address.add"]


async def test_the_default_pool_is_that_of_all_inboxes_that_name_none(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    vps_id = await make_server(system_database, tenant)
    first, second = [await _ready(rest_client, system_database, vps_id, last) for last in (23, 24)]
    named, unnamed = [await make_inbox(system_database, tenant, vps_id) for _ in range(2)]
    mine = (await rest_client.post(path, json={"name": "mine", "address_ids": [str(first)]})).json()
    await rest_client.patch(f"inboxes/{named.id}", json={"ip_pool_id": mine["id"]})
    body = {"name": "default", "address_ids": [str(second)], "is_default": True}
    assert (await rest_client.post(path, json=body)).status_code == 201

    pools = [(await rest_client.get(f"inboxes/{inbox.id}")).json()["sending"]["pool"] for inbox in (named, unnamed)]
    assert pools == ["mine", "default"]
    problem(await rest_client.delete(f"{path}/{mine['id']}"), 409, "conflict")
    await rest_client.patch(f"inboxes/{named.id}", json={"ip_pool_id": None})
    assert (await rest_client.delete(f"{path}/{mine['id']}")).status_code == 204
    assert (await rest_client.get(f"inboxes/{named.id}")).json()["sending"]["pool"] == "default"


async def test_giving_an_address_back_takes_its_inboxes_elsewhere_first(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    vps_id = await make_server(system_database, tenant)
    address = await _ready(rest_client, system_database, vps_id, 25)
    inbox = await make_inbox(system_database, tenant, vps_id)
    pool = (await rest_client.post(path, json={"name": "news", "address_ids": [str(address)]})).json()
    await rest_client.patch(f"inboxes/{inbox.id}", json={"ip_pool_id": pool["id"]})
    await _bind(system_database, inbox, address)

    for _ in range(2):
        answer = await rest_client.delete(f"vps/{vps_id}/addresses/{address}")
        assert (answer.status_code, answer.json()["state"]) == (202, "draining")
    assert (await _runs(system_database)).count("address.retire") == 1
    # What is on its way still goes out by it.
    async with system_database.system() as session:
        (domain_id,) = await session.scalars(text("SELECT domain_id FROM inboxes"))
        values = {record.value for record in (await wanted_records(session, domain_id))[inbox.id]}
    assert "v=spf1 ip4:10.77.1.1 ip4:10.77.9.25 ~all" in values


async def test_what_an_address_sent_is_counted_by_day_and_twice_the_same(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    address = await _ready(rest_client, system_database, vps_id, 26)
    inbox = await make_inbox(system_database, tenant, vps_id)
    sends = await make_sends(system_database, inbox, 4)
    await _bind(system_database, inbox, address)
    async with system_database.system() as session:
        for send, kind in zip(sends, ("delivered", "delivered", "deferred", "bounced"), strict=True):
            await session.execute(
                text(
                    "INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, applied)"
                    " VALUES (:tenant, :message, gen_random_uuid(), :kind, now(), true),"
                    " (:tenant, :message, gen_random_uuid(), 'delivered', now() - interval '2 hours', true)"
                ),
                {"tenant": tenant.id, "message": send, "kind": kind},
            )
    for _ in range(2):
        async with system_database.system() as session:
            await count_reputation(session)

    (day,) = (await rest_client.get(f"vps/{vps_id}/addresses/{address}")).json()["reputation"]
    assert (day["sent"], day["deferred"], day["bounced"], day["complained"]) == (2, 1, 1, 0)


async def test_pools_take_no_strange_addresses_and_no_name_twice(rest_client: httpx.AsyncClient, path: str) -> None:
    assert (await rest_client.post(path, json={"name": "news"})).status_code == 201
    problem(await rest_client.post(path, json={"name": "news"}), 409, "conflict")
    body = problem(
        await rest_client.post(path, json={"name": "x", "address_ids": [str(uuid.uuid4())]}), 422, "invalid-input"
    )
    assert pointers(body) == ["/address_ids"]
    problem(await rest_client.post(path, json={"name": "a\nb"}), 422, "invalid-input")


async def test_another_tenants_addresses_and_pools_are_not_there(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    tenant: SomeTenant,
    other_tenant: SomeTenant,
) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    vps_id = await make_server(system_database, tenant)
    address = await _ready(rest_client, system_database, vps_id, 27)
    pool = (await rest_client.post(path, json={"name": "news", "address_ids": [str(address)]})).json()
    theirs = f"workspaces/{other_tenant.workspace_id}/ip-pools"
    inbox = await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))

    for answer in (
        await other_client.get(path),
        await other_client.get(f"{path}/{pool['id']}"),
        await other_client.get(f"{theirs}/{pool['id']}"),
        await other_client.patch(f"{theirs}/{pool['id']}", json={"name": "mine"}),
        await other_client.delete(f"{theirs}/{pool['id']}"),
        await other_client.post(f"vps/{vps_id}/addresses"),
        await other_client.get(f"vps/{vps_id}/addresses"),
        await other_client.get(f"vps/{vps_id}/addresses/{address}"),
        await other_client.delete(f"vps/{vps_id}/addresses/{address}"),
    ):
        problem(answer, 404, "not-found")
    strange = {"name": "x", "address_ids": [str(address)]}
    problem(await other_client.post(theirs, json=strange), 422, "invalid-input")
    problem(await other_client.patch(f"inboxes/{inbox.id}", json={"ip_pool_id": pool["id"]}), 422, "invalid-input")
