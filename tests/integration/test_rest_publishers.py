"""Which DNS host a domain is at: chosen through REST, sealed in the row, opened by the worker alone."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.dns.publishers.choice import publisher_for
from control_plane.dns.publishers.chosen import Choice, Kind, load_choice
from control_plane.dns.publishers.cloudflare import CloudflarePublisher
from control_plane.dns.publishers.hetzner import HetznerPublisher
from control_plane.dns.publishers.manual import ManualPublisher
from control_plane.dns.publishers.octodns_zone import OctoDnsPublisher
from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.dns.publishers.rfc2136 import Rfc2136Publisher
from control_plane.rest.app import make_app
from control_plane.rest.parts import Parts
from control_plane.sealing import SealBroken
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import client_of, pointers, problem

SECRET = "c2VjcmV0IG9mIHRoZSB0ZW5hbnQ="
INSTALLATION = ManualPublisher()
OWN_HOSTS: list[tuple[dict[str, Any], type[object]]] = [
    ({"kind": "powerdns", "url": "https://dns.acme.example:8443", "api_key": SECRET}, PowerDnsPublisher),
    ({"kind": "rfc2136", "primary": "9.9.9.9:53", "key_name": "penguin.", "secret": SECRET}, Rfc2136Publisher),
    ({"kind": "hetzner", "token": SECRET}, HetznerPublisher),
    ({"kind": "cloudflare", "token": SECRET}, CloudflarePublisher),
]


@pytest.fixture
async def domain_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    async with system_database.system() as session:
        found: uuid.UUID = (
            await session.execute(text("SELECT domain_id FROM inboxes WHERE id = :id"), {"id": inbox.id})
        ).scalar_one()
    return found


async def chosen(app: FastAPI, database: Database, domain_id: uuid.UUID) -> Choice:
    parts: Parts = app.state.parts
    async with database.system() as session:
        return await load_choice(session, domain_id, parts.sealer)


@pytest.mark.parametrize(("body", "made"), OWN_HOSTS)
async def test_a_host_is_chosen_and_its_secret_is_never_shown(
    *,
    rest_app: FastAPI,
    rest_client: httpx.AsyncClient,
    system_database: Database,
    domain_id: uuid.UUID,
    body: dict[str, Any],
    made: type[object],
) -> None:
    put = await rest_client.put(f"domains/{domain_id}/publisher", json=body)
    shown = await rest_client.get(f"domains/{domain_id}/publisher")
    choice = await chosen(rest_app, system_database, domain_id)
    async with system_database.system() as session:
        row = (await session.execute(text("SELECT to_jsonb(p)::text FROM dns_publishers p"))).scalar_one()

    assert (put.status_code, shown.json()["kind"]) == (200, body["kind"])
    assert SECRET not in put.text + shown.text + row + repr(choice)
    assert list(choice.credentials.values()) == [SECRET]
    assert isinstance(publisher_for(choice, INSTALLATION, rest_app.state.parts.settings), made)


async def test_what_is_not_verified_live_says_so(rest_client: httpx.AsyncClient, domain_id: uuid.UUID) -> None:
    for kind in ("hetzner", "cloudflare"):
        put = await rest_client.put(f"domains/{domain_id}/publisher", json={"kind": kind, "token": SECRET})
        assert "not verified live" in put.json()["note"]


async def test_without_a_choice_and_after_taking_it_back_the_installation_publishes(
    rest_app: FastAPI, rest_client: httpx.AsyncClient, system_database: Database, domain_id: uuid.UUID
) -> None:
    first = await rest_client.get(f"domains/{domain_id}/publisher")
    await rest_client.put(f"domains/{domain_id}/publisher", json={"kind": "hetzner", "token": SECRET})
    gone = await rest_client.delete(f"domains/{domain_id}/publisher")
    choice = await chosen(rest_app, system_database, domain_id)

    assert first.json() == {"kind": "installation", "options": {}, "note": None, "updated_at": None}
    assert gone.status_code == 204
    assert choice == Choice(Kind.INSTALLATION)
    assert publisher_for(choice, INSTALLATION, rest_app.state.parts.settings) is INSTALLATION


async def test_credentials_that_are_moved_to_another_row_do_not_open(
    rest_app: FastAPI, rest_client: httpx.AsyncClient, system_database: Database, domain_id: uuid.UUID
) -> None:
    await rest_client.put(f"domains/{domain_id}/publisher", json={"kind": "hetzner", "token": SECRET})
    move = (
        "WITH other AS (INSERT INTO domains (tenant_id, name) SELECT tenant_id, 'elsewhere.example' FROM domains"
        " RETURNING id) UPDATE dns_publishers SET domain_id = other.id FROM other RETURNING domain_id"
    )
    async with system_database.system() as session:
        other: uuid.UUID = (await session.execute(text(move))).scalar_one()
    with pytest.raises(SealBroken):
        await chosen(rest_app, system_database, other)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "powerdns", "url": "http://dns.acme.example", "api_key": SECRET}, "/url"),
        ({"kind": "powerdns", "url": "https://127.0.0.1:8081", "api_key": SECRET}, "/url"),
        ({"kind": "powerdns", "url": "https://[::ffff:10.0.0.1]", "api_key": SECRET}, "/url"),
        ({"kind": "powerdns", "url": "https://localhost", "api_key": SECRET}, "/url"),
        ({"kind": "powerdns", "url": "https://user@dns.acme.example", "api_key": SECRET}, "/url"),
        ({"kind": "powerdns", "url": "https://dns.acme.example/%2e%2e/x", "api_key": SECRET}, "/url"),
        ({"kind": "rfc2136", "primary": "10.77.0.53:53", "key_name": "k", "secret": SECRET}, "/primary"),
        ({"kind": "rfc2136", "primary": "ns.acme.example:53", "key_name": "k", "secret": SECRET}, "/primary"),
        ({"kind": "rfc2136", "primary": "9.9.9.9:99999", "key_name": "k", "secret": SECRET}, "/primary"),
        ({"kind": "rfc2136", "primary": "9.9.9.9:53", "key_name": "k", "secret": "no base64!"}, "/secret"),
        ({"kind": "octodns", "provider": "octodns.source.envvar.EnvVarSource", "credentials": {}}, "/provider"),
    ],
)
async def test_what_leads_into_our_own_network_or_nowhere_is_refused(
    rest_client: httpx.AsyncClient, domain_id: uuid.UUID, body: dict[str, Any], pointer: str
) -> None:
    answer = await rest_client.put(f"domains/{domain_id}/publisher", json=body)
    assert pointers(problem(answer, 422, "invalid-input")) == [pointer]
    assert SECRET not in answer.text
    assert (await rest_client.get(f"domains/{domain_id}/publisher")).json()["kind"] == "installation"


async def test_a_listed_provider_takes_exactly_the_credentials_that_the_operator_lists(
    *, rest_settings: Settings, tenant: SomeTenant, system_database: Database, domain_id: uuid.UUID, tmp_path: Path
) -> None:
    listed = {"class": "octodns_cloudflare.CloudflareProvider", "options": {"pagerules": False}}
    (tmp_path / "listed.json").write_text(json.dumps({"flare": {**listed, "credentials": ["token"]}}))
    settings = rest_settings.model_copy(update={"dns_octodns_file": tmp_path / "listed.json"})
    app = make_app(settings)
    path = f"domains/{domain_id}/publisher"
    async with app.router.lifespan_context(app), client_of(app, tenant.api_key) as client:
        order = {"kind": "octodns", "provider": "flare", "credentials": {"token": SECRET}}
        more = {**order, "credentials": {"token": SECRET, "api_url": "http://127.0.0.1:1"}}
        assert pointers(problem(await client.put(path, json=more), 422, "invalid-input")) == ["/credentials"]
        assert (await client.put(path, json=order)).status_code == 200
        choice = await chosen(app, system_database, domain_id)
    assert isinstance(publisher_for(choice, INSTALLATION, settings), OctoDnsPublisher)


async def test_another_tenants_domain_is_not_there(other_client: httpx.AsyncClient, domain_id: uuid.UUID) -> None:
    path = f"domains/{domain_id}/publisher"
    problem(await other_client.get(path), 404, "not-found")
    problem(await other_client.put(path, json={"kind": "manual"}), 404, "not-found")
    problem(await other_client.delete(path), 404, "not-found")
