import uuid

import httpx
import pytest
from sqlalchemy import text

from control_plane.fleet.desired import load_desired_state
from control_plane.sealing import Sealer
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import pointers, problem

SEALER = Sealer(b"k" * 32)
_MOVE = text(
    "INSERT INTO inbox_moves (id, tenant_id, request_id, inbox_id, source_id, target_id, state)"
    " VALUES (gen_random_uuid(), :tenant, gen_random_uuid(), :inbox, :source, :target, :state)"
)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def address_of(client: httpx.AsyncClient, inbox: SomeInbox) -> str:
    address: str = (await client.get(f"inboxes/{inbox.id}")).json()["email_address"]
    return address


async def domain_of(client: httpx.AsyncClient, inbox: SomeInbox) -> str:
    return (await address_of(client, inbox)).rpartition("@")[2]


async def listed(client: httpx.AsyncClient, inbox: SomeInbox) -> list[str]:
    return [each["email_address"] for each in (await client.get(f"inboxes/{inbox.id}/aliases")).json()["items"]]


async def served_by(database: Database, vps_id: uuid.UUID) -> tuple[int, dict[str, list[str]]]:
    """Return the version of what the server should be, and its aliases."""
    sealed = SEALER.seal(b"probe password", f"vps_servers.probe_password:{vps_id}")
    async with database.system() as session:
        await session.execute(
            text("UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id"),
            {"sealed": sealed, "id": vps_id},
        )
        state = await load_desired_state(session, vps_id, SEALER, ("10.77.0.53",))
    return state.version, {alias.address: list(alias.targets) for alias in state.server.aliases}


async def test_an_alias_leads_to_its_inbox_until_it_is_removed(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    version, _ = await served_by(system_database, inbox.vps_id)
    address, path = await address_of(rest_client, inbox), f"inboxes/{inbox.id}/aliases"
    alias = f"hello@{address.rpartition('@')[2]}"
    answer = await rest_client.post(path, json={"email_address": alias.upper()})
    assert (answer.status_code, answer.json()["email_address"]) == (201, alias)
    assert await listed(rest_client, inbox) == [alias]
    assert await served_by(system_database, inbox.vps_id) == (version + 1, {alias: [address]})

    of_alias = f"{path}/{answer.json()['id']}"
    assert (await rest_client.delete(of_alias)).status_code == 204
    assert await listed(rest_client, inbox) == []
    assert await served_by(system_database, inbox.vps_id) == (version + 2, {})
    problem(await rest_client.delete(of_alias), 404, "not-found")
    assert (await rest_client.post(path, json={"email_address": alias})).status_code == 201
    assert await listed(rest_client, inbox) == [alias]


async def test_an_address_in_use_is_none(rest_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    address, path = await address_of(rest_client, inbox), f"inboxes/{inbox.id}/aliases"
    domain = address.rpartition("@")[2]
    problem(await rest_client.post(path, json={"email_address": address}), 409, "conflict")
    body = {"email_address": f"hello@{domain}"}
    assert (await rest_client.post(path, json=body)).status_code == 201
    problem(await rest_client.post(path, json=body), 409, "conflict")
    inboxes = f"workspaces/{inbox.tenant.workspace_id}/inboxes"
    problem(await rest_client.post(inboxes, json=body), 409, "conflict")


@pytest.mark.parametrize("name", ["postmaster@{}", "ABUSE@{}", "a b@{}", "hello@elsewhere.example", "hello@www.{}"])
async def test_an_address_that_can_be_none_is_refused(
    rest_client: httpx.AsyncClient, inbox: SomeInbox, name: str
) -> None:
    body = {"email_address": name.format(await domain_of(rest_client, inbox))}
    answer = await rest_client.post(f"inboxes/{inbox.id}/aliases", json=body)
    assert pointers(problem(answer, 422, "invalid-input")) == ["/email_address"]


async def test_another_tenants_domain_is_answered_like_any_other(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    other_tenant: SomeTenant,
) -> None:
    theirs = await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))
    taken = await domain_of(other_client, theirs)
    answers = [
        await rest_client.post(f"inboxes/{inbox.id}/aliases", json={"email_address": f"sales@{domain}"})
        for domain in (taken, "nobodys.example")
    ]
    assert [problem(answer, 422, "invalid-input")["detail"] for answer in answers] == [answers[0].json()["detail"]] * 2
    problem(await other_client.get(f"inboxes/{inbox.id}/aliases"), 404, "not-found")
    problem(await other_client.delete(f"inboxes/{inbox.id}/aliases/{uuid.uuid4()}"), 404, "not-found")


async def test_those_of_an_inbox_that_goes_are_served_no_more(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    path, domain = f"inboxes/{inbox.id}/aliases", await domain_of(rest_client, inbox)
    await rest_client.post(path, json={"email_address": f"hello@{domain}"})
    assert (await rest_client.delete(f"inboxes/{inbox.id}")).status_code == 202
    problem(await rest_client.post(path, json={"email_address": f"again@{domain}"}), 409, "conflict")
    assert (await served_by(system_database, inbox.vps_id))[1] == {}


@pytest.mark.parametrize(
    ("state", "at_source"), [("copying", True), ("holding", True), ("arriving", False), ("forwarding", False)]
)
async def test_while_an_inbox_moves_both_servers_have_its_aliases_and_they_stay(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, state: str, *, at_source: bool
) -> None:
    address, path = await address_of(rest_client, inbox), f"inboxes/{inbox.id}/aliases"
    alias = f"hello@{address.rpartition('@')[2]}"
    await rest_client.post(path, json={"email_address": alias})
    elsewhere = await make_server(system_database, inbox.tenant)
    source, target = (inbox.vps_id, elsewhere) if at_source else (elsewhere, inbox.vps_id)
    move = {"tenant": inbox.tenant.id, "inbox": inbox.id, "source": source, "target": target, "state": state}
    async with system_database.system() as session:
        await session.execute(_MOVE, move)
    for server in (source, target):
        assert (await served_by(system_database, server))[1] == {alias: [address]}
    problem(await rest_client.post(path, json={"email_address": "x" + alias}), 409, "conflict")
