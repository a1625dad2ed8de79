"""Webhooks as a tenant manages them; another tenant's are not there."""

import uuid

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy import text

from control_plane.rest.app import make_app
from control_plane.settings import Settings
from control_plane.webhooks import deliveries
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server
from tests.integration.rest import client_of, pointers, problem
from tests.integration.webhooks.hooks import make_webhook, tell

DAY = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}


async def test_a_secret_is_shown_once_and_kept_sealed(
    rest_client: httpx.AsyncClient, system_database: Database
) -> None:
    hook = await make_webhook(rest_client, 1)
    rotated = (await rest_client.post(f"webhooks/{hook['id']}:rotate", json={"overlap_hours": 1})).json()
    shown = await rest_client.get(f"webhooks/{hook['id']}")
    listed = await rest_client.get("webhooks")
    async with system_database.system() as session:
        row = (await session.execute(text("SELECT to_jsonb(w)::text FROM webhook_endpoints w"))).scalar_one()
    for secret in (hook["secret"], rotated["secret"]):
        assert secret.startswith("whsec_")
        assert secret not in shown.text + listed.text + row
    assert hook["secret"] != rotated["secret"]
    assert shown.json()["previous_secret_until"] == rotated["previous_secret_until"]


async def test_what_cannot_be_right_is_refused_by_name(rest_client: httpx.AsyncClient) -> None:
    for body, pointer in (
        ({"url": "ftp://a.example"}, "/url"),
        ({"url": "https://a.example", "event_types": ["nothing"]}, "/event_types/0"),
        ({"url": "https://a.example", "secret": "mine"}, "/secret"),
    ):
        assert pointer in pointers(problem(await rest_client.post("webhooks", json=body), 422, "invalid-input"))
    hook = await make_webhook(rest_client, 1)
    backwards = {"since": DAY["until"], "until": DAY["since"]}
    answer = await rest_client.post(f"webhooks/{hook['id']}:replay", json=backwards)
    assert pointers(problem(answer, 422, "invalid-input")) == ["/until"]
    nowhere = {"url": "https://a.example", "workspace_id": str(uuid.uuid4())}
    problem(await rest_client.post("webhooks", json=nowhere), 404, "not-found")


async def test_private_targets_are_refused_unless_the_installation_allows_them(
    rest_settings: Settings, tenant: SomeTenant
) -> None:
    app: FastAPI = make_app(rest_settings.model_copy(update={"webhook_private_targets": False}))
    async with app.router.lifespan_context(app), client_of(app, tenant.api_key) as client:
        for url in ("http://hooks.example.com", "https://10.77.0.1/", "https://[::1]/", "https://localhost/"):
            problem(await client.post("webhooks", json={"url": url}), 422, "invalid-input")
        assert (await client.post("webhooks", json={"url": "https://hooks.example.com/in"})).status_code == 201


def test_only_an_installation_of_local_servers_may_allow_them(rest_settings: Settings) -> None:
    values = rest_settings.model_dump() | {"webhook_private_targets": True, "local_cloud_socket": None}
    with pytest.raises(ValidationError):
        Settings.model_validate(values)


async def test_another_tenants_webhooks_are_not_there(
    *,
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    tenant: SomeTenant,
) -> None:
    hook = await make_webhook(rest_client, 1)
    own = await make_webhook(other_client, 2)
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    [send_id] = await make_sends(system_database, inbox, 1)
    await tell(system_database, inbox, send_id, "delivered")
    [delivery] = (await rest_client.get(f"webhooks/{hook['id']}/deliveries")).json()["items"]
    path = f"webhooks/{hook['id']}"
    asked = [
        await other_client.get(path),
        await other_client.patch(path, json={"enabled": False}),
        await other_client.delete(path),
        await other_client.post(f"{path}:ping"),
        await other_client.post(f"{path}:rotate"),
        await other_client.post(f"{path}:replay", json=DAY),
        await other_client.get(f"{path}/deliveries"),
        await other_client.post(f"{path}/deliveries/{delivery['id']}:replay"),
        await other_client.post(f"webhooks/{own['id']}/deliveries/{delivery['id']}:replay"),
        await other_client.get(f"events/{delivery['event_id']}"),
    ]
    for answer in asked:
        problem(answer, 404, "not-found")
    assert [each["id"] for each in (await other_client.get("webhooks")).json()["items"]] == [own["id"]]
    assert (await other_client.get("events")).json()["items"] == []
    assert (await rest_client.get(path)).json()["enabled"] is True


async def test_lists_go_on_after_their_pages(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    hook = await make_webhook(rest_client, 1)
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    for send_id in await make_sends(system_database, inbox, 5):
        await tell(system_database, inbox, send_id, "delivered")
    for path in ("events", f"webhooks/{hook['id']}/deliveries"):
        seen: list[str] = []
        following = ""
        while True:
            page = (await rest_client.get(f"{path}?limit=2{following}")).json()
            seen += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            following = f"&after={page['next']}"
        assert (len(seen), len(set(seen))) == (5, 5)


async def test_a_replay_leaves_what_was_delivered_unless_it_is_asked_for(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    hook = await make_webhook(rest_client, 1)
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    for send_id in await make_sends(system_database, inbox, 3):
        await tell(system_database, inbox, send_id, "delivered")
    async with system_database.system() as session:
        await session.execute(text("UPDATE webhook_deliveries SET state = 'delivered'"))
    path = f"webhooks/{hook['id']}:replay"
    assert (await rest_client.post(path, json=DAY)).json() == {"replayed": 0, "next": None}
    assert (await rest_client.post(path, json=DAY | {"delivered": True})).json() == {"replayed": 3, "next": None}
    # What waits goes on as it is.
    assert (await rest_client.post(path, json=DAY | {"delivered": True})).json() == {"replayed": 0, "next": None}


async def test_a_long_range_is_replayed_in_several(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MOST_REPLAYED", 2)
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    hook = await make_webhook(rest_client, 1)
    for send_id in await make_sends(system_database, inbox, 3):
        await tell(system_database, inbox, send_id, "delivered")
    async with system_database.system() as session:
        await session.execute(text("UPDATE webhook_deliveries SET state = 'delivered'"))
    path, wanted = f"webhooks/{hook['id']}:replay", DAY | {"delivered": True}
    first = (await rest_client.post(path, json=wanted)).json()
    rest = (await rest_client.post(path, json=wanted | {"after": first["next"]})).json()
    assert (first["replayed"], rest) == (2, {"replayed": 1, "next": None})
    altered = DAY | {"delivered": False, "after": first["next"]}
    assert pointers(problem(await rest_client.post(path, json=altered), 400, "invalid-cursor")) == ["/after"]


async def test_there_is_room_for_twenty(rest_client: httpx.AsyncClient) -> None:
    for port in range(1, 21):
        await make_webhook(rest_client, port)
    answer = await rest_client.post("webhooks", json={"url": "https://hooks.example.com"})
    problem(answer, 409, "conflict")


async def test_a_ping_reaches_an_endpoint_that_wants_other_types(rest_client: httpx.AsyncClient) -> None:
    hook = await make_webhook(rest_client, 1, event_types=["message.bounced"])
    pinged = await rest_client.post(f"webhooks/{hook['id']}:ping")
    [item] = (await rest_client.get(f"webhooks/{hook['id']}/deliveries")).json()["items"]
    assert (pinged.status_code, item["id"], item["type"]) == (202, pinged.json()["delivery_id"], "webhook.ping")
