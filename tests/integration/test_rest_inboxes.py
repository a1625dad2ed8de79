import asyncio
import uuid
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key
from sqlalchemy import select

from control_plane.data_keys.keys import open_sealed
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.models import metadata
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server, states_of
from tests.integration.rest import pointers, problem

SALES = {"email_address": "Sales@Pinguin.example", "display_name": "Sales Team"}
ORDER = {"vps_provider": "local", "vps_size": "starter"}


@pytest.fixture
def path(tenant: SomeTenant) -> str:
    return f"workspaces/{tenant.workspace_id}/inboxes"


async def rows(database: Database, table: str) -> list[Any]:
    async with database.system() as session:
        found = metadata.tables[table]
        return list((await session.execute(select(found).order_by(found.c.created_at))).all())


async def test_an_inbox_is_created_on_the_workspaces_newest_server(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    await make_server(system_database, tenant)
    newest = await make_server(system_database, tenant, status="provisioning")
    await make_server(system_database, tenant, status="failed")
    await make_server(system_database, tenant, status="deleting")
    answer = await rest_client.post(path, json=SALES)
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["location"] == f"/api/v1/inboxes/{body['id']}"
    assert (body["email_address"], body["display_name"], body["vps_id"], body["status"]) == (
        "sales@pinguin.example", "Sales Team", str(newest), "pending_setup",
    )  # fmt: skip
    hostname = f"mx-{newest.hex[:8]}.penguin.example"
    assert body["smtp_config"] == {
        "host": hostname, "port": 587, "security": "starttls", "tls_port": 465, "username": "sales@pinguin.example",
    }  # fmt: skip
    assert body["imap_config"] == {
        "host": hostname, "port": 993, "security": "tls", "username": "sales@pinguin.example",
    }  # fmt: skip
    (run,) = await rows(system_database, "pipeline_runs")
    assert (run.kind, str(run.subject_id)) == ("inbox.setup", body["id"])


async def test_the_password_is_shown_once_and_kept_as_dovecots_hash(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    await make_server(system_database, tenant)
    body = (await rest_client.post(path, json=SALES)).json()
    assert "password" not in (await rest_client.get(f"inboxes/{body['id']}")).json()
    (inbox,) = await rows(system_database, "inboxes")
    assert inbox.password_hash.startswith("{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$")
    assert PasswordHasher().verify(inbox.password_hash.removeprefix("{ARGON2ID}"), body["password"])


async def test_a_new_domain_gets_a_dkim_key_that_is_sealed_for_its_row(
    rest_client: httpx.AsyncClient,
    system_database: Database,
    rest_settings: Settings,
    tenant: SomeTenant,
    path: str,
) -> None:
    await make_server(system_database, tenant)
    for name in ("sales", "info"):
        assert (await rest_client.post(path, json={"email_address": f"{name}@bücher.example"})).status_code == 201
    (domain,) = await rows(system_database, "domains")
    assert domain.name == "xn--bcher-kva.example"
    (key,) = await rows(system_database, "dkim_keys")
    assert (key.domain_id, key.selector, key.active) == (domain.id, "pm1", True)
    sealer = Sealer.of_file(rest_settings.sealing_key_file)
    async with system_database.system() as session:
        der = await open_sealed(session, sealer, key.private_key_sealed, f"dkim_keys.private_key:{key.id}")
    private = load_der_private_key(der, None)
    assert isinstance(private, RSAPrivateKey)
    assert private.key_size == 2048


async def test_without_a_server_one_is_provisioned_in_the_same_transaction(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    body = (await rest_client.post(path, json=SALES | ORDER)).json()
    (server,) = await rows(system_database, "vps_servers")
    assert (body["vps_id"], body["smtp_config"]["host"]) == (str(server.id), server.hostname)
    assert {run.kind for run in await rows(system_database, "pipeline_runs")} == {"vps.provision", "inbox.setup"}


async def test_inboxes_that_come_at_once_share_one_new_server(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    bodies = [{"email_address": f"{name}@pinguin.example"} | ORDER for name in ("a", "b", "c")]
    answers = await asyncio.gather(*(rest_client.post(path, json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len(await rows(system_database, "vps_servers")) == 1
    assert len(await rows(system_database, "domains")) == 1


async def test_a_server_of_another_size_does_not_fit(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    await make_server(system_database, tenant)
    await rest_client.post(path, json=SALES | ORDER)
    assert len(await rows(system_database, "vps_servers")) == 2


async def test_an_inbox_goes_to_the_server_that_is_named(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    named = await make_server(system_database, tenant)
    await make_server(system_database, tenant)
    assert (await rest_client.post(path, json=SALES | {"vps_id": str(named)})).json()["vps_id"] == str(named)


@pytest.mark.parametrize("status", ["failed", "deleting", "deleted"])
async def test_a_server_that_can_take_no_inbox_is_refused(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str, status: str
) -> None:
    server = await make_server(system_database, tenant, status=status)
    problem(await rest_client.post(path, json=SALES | {"vps_id": str(server)}), 409, "conflict")


async def test_the_server_of_another_tenant_is_not_there(
    rest_client: httpx.AsyncClient, system_database: Database, other_tenant: SomeTenant, path: str
) -> None:
    server = await make_server(system_database, other_tenant)
    problem(await rest_client.post(path, json=SALES | {"vps_id": str(server)}), 404, "not-found")


async def test_without_a_server_or_an_order_nothing_is_created(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    body = problem(await rest_client.post(path, json=SALES), 422, "invalid-input")
    assert pointers(body) == ["/vps_provider"]
    assert await rows(system_database, "domains") == []


async def test_the_domain_of_another_tenant_is_taken_without_saying_whose(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    other_tenant: SomeTenant,
    path: str,
) -> None:
    await rest_client.post(path, json=SALES | ORDER)
    theirs = f"workspaces/{other_tenant.workspace_id}/inboxes"
    body = problem(
        await other_client.post(theirs, json={"email_address": "eve@pinguin.example"} | ORDER), 409, "domain-in-use"
    )
    assert body["detail"] == "The domain pinguin.example is in use and cannot be added."
    assert len(await rows(system_database, "vps_servers")) == 1


async def test_a_name_under_the_domain_of_another_tenant_is_refused_and_leaves_nothing(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    other_tenant: SomeTenant,
    path: str,
) -> None:
    await rest_client.post(path, json=SALES | ORDER)
    theirs = f"workspaces/{other_tenant.workspace_id}/inboxes"
    under = {"email_address": "eve@news.mail.pinguin.example"}
    body = problem(await other_client.post(theirs, json=under | ORDER), 409, "domain-in-use")
    assert body["detail"].startswith("news.mail.pinguin.example lies under pinguin.example, which is in use")
    assert [domain.name for domain in await rows(system_database, "domains")] == ["pinguin.example"]


async def test_who_has_a_domain_adds_names_under_it_and_keeps_them_whoever_has_what_is_above(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    other_tenant: SomeTenant,
    path: str,
) -> None:
    for address in ("a@mail.pinguin.example", "b@news.mail.pinguin.example"):
        assert (await rest_client.post(path, json={"email_address": address} | ORDER)).status_code == 201
    theirs = f"workspaces/{other_tenant.workspace_id}/inboxes"
    above = await other_client.post(theirs, json={"email_address": "c@pinguin.example"} | ORDER)
    again = await rest_client.post(path, json={"email_address": "d@mail.pinguin.example"} | ORDER)
    assert (above.status_code, again.status_code) == (201, 201)
    names = ["mail.pinguin.example", "news.mail.pinguin.example", "pinguin.example"]
    assert sorted(domain.name for domain in await rows(system_database, "domains")) == names


@pytest.mark.parametrize("domain", ["penguin.example", "mx-1.penguin.example"])
async def test_the_platforms_own_domain_is_taken(rest_client: httpx.AsyncClient, path: str, domain: str) -> None:
    problem(await rest_client.post(path, json={"email_address": f"a@{domain}"} | ORDER), 409, "domain-in-use")


@pytest.mark.parametrize("domain", ["co.uk", "github.io", "xn--55qx5d.cn"])
async def test_a_public_suffix_is_nobodys_sending_domain(
    rest_client: httpx.AsyncClient, system_database: Database, path: str, domain: str
) -> None:
    body = problem(await rest_client.post(path, json={"email_address": f"a@{domain}"} | ORDER), 422, "public-suffix")
    assert pointers(body) == ["/email_address"]
    assert "registered under it" in body["detail"]
    assert await rows(system_database, "domains") == []
    assert await rows(system_database, "vps_servers") == []


async def test_an_address_is_an_inbox_once(rest_client: httpx.AsyncClient, path: str) -> None:
    await rest_client.post(path, json=SALES | ORDER)
    problem(await rest_client.post(path, json=SALES | ORDER), 409, "conflict")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email_address": "sales"}, "/email_address"),
        ({"email_address": "a/b@pinguin.example"}, "/email_address"),
        ({"display_name": "Sales\r\nBcc: eve@example.net"}, "/display_name"),
        ({"display_name": "\0"}, "/display_name"),
        ({"password": "secret"}, "/password"),
        ({"vps_provider": "nowhere"}, "/vps_provider"),
    ],
)
async def test_bad_input_is_refused_by_name(
    rest_client: httpx.AsyncClient, path: str, change: dict[str, Any], pointer: str
) -> None:
    body = problem(await rest_client.post(path, json=SALES | ORDER | change), 422, "invalid-input")
    assert pointers(body) == [pointer]


async def test_inboxes_are_listed_in_pages(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    server = await make_server(system_database, tenant)
    ids = sorted([str((await make_inbox(system_database, tenant, server)).id) for _ in range(3)])
    first = (await rest_client.get(path, params={"limit": 2})).json()
    rest = (await rest_client.get(path, params={"limit": 2, "after": first["next"]})).json()
    assert [inbox["id"] for inbox in first["items"] + rest["items"]] == ids
    assert rest["next"] is None


async def test_inboxes_are_found_by_their_status_and_address(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    server = await make_server(system_database, tenant)
    ready, other, failed = [
        await make_inbox(system_database, tenant, server, status=status) for status in ("ready", "ready", "failed")
    ]

    async def found(**filters: str) -> set[str]:
        return {inbox["id"] for inbox in (await rest_client.get(path, params=filters)).json()["items"]}

    assert await found(status="ready") == {str(ready.id), str(other.id)}
    assert await found(status="deleting") == set()
    assert await found(email_address=failed.address.upper()) == {str(failed.id)}
    assert await found(email_address=failed.address, status="ready") == set()
    told = problem(await rest_client.get(path, params={"email_address": "nobody"}), 422, "invalid-input")
    assert pointers(told) == ["query/email_address"]
    problem(await rest_client.get(path, params={"status": "well"}), 422, "invalid-input")


async def test_what_may_be_changed_is_changed_and_the_rest_stays(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    before = (await rest_client.get(f"inboxes/{inbox.id}")).json()
    changes = {"daily_send_limit": 100, "warmup_enabled": True, "display_name": "Office"}
    changed = (await rest_client.patch(f"inboxes/{inbox.id}", json=changes)).json()
    assert {name: value for name, value in changed.items() if before[name] != value} == changes | {
        "updated_at": changed["updated_at"]
    }
    assert (await rest_client.patch(f"inboxes/{inbox.id}", json={"display_name": None})).json()["display_name"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"email_address": "x@pinguin.example"},
        {"status": "ready"},
        {"daily_send_limit": -1},
        {"daily_send_limit": "100"},
        {"daily_send_limit": None},
        {"warmup_enabled": "yes"},
        {"display_name": "a\nb"},
    ],
)
async def test_what_may_not_be_changed_is_refused(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, change: dict[str, Any]
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    body = problem(await rest_client.patch(f"inboxes/{inbox.id}", json=change), 422, "invalid-input")
    assert pointers(body) == [f"/{name}" for name in change]


async def test_an_inbox_is_removed_in_the_background_with_the_sends_that_wait(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    server = await make_server(system_database, tenant)
    inbox, other = [await make_inbox(system_database, tenant, server) for _ in range(2)]
    waiting = await make_sends(system_database, inbox, 2)
    kept = await make_sends(system_database, other, 1)
    for _ in range(2):
        answer = await rest_client.delete(f"inboxes/{inbox.id}")
        assert (answer.status_code, answer.json()["status"]) == (202, "deleting")
    assert await states_of(system_database, [*waiting, *kept]) == ["cancelled", "cancelled", "accepted"]
    (run,) = await rows(system_database, "pipeline_runs")
    assert (run.kind, run.subject_id) == ("inbox.remove", inbox.id)
    message = (await rest_client.get(f"messages/{waiting[0]}")).json()
    assert (message["state"], message["state_reason"]) == ("cancelled", "The inbox was removed.")
    assert message["final_at"] is not None
    assert [moment["kind"] for moment in message["timeline"]] == ["accepted", "cancelled"]
    problem(await rest_client.patch(f"inboxes/{inbox.id}", json={"daily_send_limit": 1}), 409, "conflict")


async def test_the_inbox_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    problem(await other_client.get(f"inboxes/{inbox.id}"), 404, "not-found")
    problem(await other_client.patch(f"inboxes/{inbox.id}", json={"daily_send_limit": 1}), 404, "not-found")
    problem(await other_client.delete(f"inboxes/{inbox.id}"), 404, "not-found")
    problem(await other_client.get(f"inboxes/{inbox.id}/dns-records"), 404, "not-found")
    problem(await other_client.post(f"inboxes/{inbox.id}/dns-records/verify"), 404, "not-found")
    problem(await other_client.post(path, json=SALES | ORDER), 404, "not-found")
    problem(await other_client.get(f"inboxes/{uuid.uuid4()}"), 404, "not-found")


async def test_a_domains_inboxes_share_the_server_that_its_mail_goes_to(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    first = await make_server(system_database, tenant)
    assert (await rest_client.post(path, json=SALES)).json()["vps_id"] == str(first)
    newer = await make_server(system_database, tenant)
    second = await rest_client.post(path, json={"email_address": "info@pinguin.example"})
    assert second.json()["vps_id"] == str(first)
    elsewhere = await rest_client.post(path, json={"email_address": "help@pinguin.example", "vps_id": str(newer)})
    problem(elsewhere, 409, "conflict")
