"""Events are written by what they tell of, in its transaction, for tenants that have a webhook and no others."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import text

from control_plane.delivery.apply import apply_events
from control_plane.tenancy.plans import set_plan
from control_plane.webhooks.forget import forget_webhooks
from db.ids import uuid7
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.rest import problem
from tests.integration.webhooks.hooks import count, make_webhook, tell


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def events_of(database: Database) -> Sequence[tuple[str, str]]:
    query = text("SELECT type, subject_id::text AS subject FROM tenant_events ORDER BY position")
    async with database.system() as session:
        return [(row.type, row.subject) for row in await session.execute(query)]


async def run(database: Database, statement: str, **values: object) -> None:
    async with database.system() as session:
        await session.execute(text(statement), values)


async def test_without_a_webhook_nothing_is_written_but_notices(
    other_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await make_webhook(other_client, 1)
    [send_id] = await make_sends(system_database, inbox, 1)
    await tell(system_database, inbox, send_id, "relayed", "delivered")
    await run(system_database, "UPDATE inboxes SET status = 'pending_dns'")
    await run(system_database, "UPDATE inboxes SET status = 'ready'")
    assert [kind for kind, _ in await events_of(system_database)] == ["domain.verified"]


async def test_a_tenant_reads_its_notices_and_nobody_elses_without_a_webhook(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    async with system_database.system() as session:
        await set_plan(session, tenant.id, "starter", {"servers": 5})
    servers = [await make_server(system_database, tenant, status="provisioning") for _ in range(5)]
    await run(system_database, "UPDATE vps_servers SET status = 'ready' WHERE id = :id", id=servers[0])
    first = (await rest_client.get("notices", params={"limit": 1})).json()
    rest = (await rest_client.get("notices", params={"after": first["next"]})).json()
    told: list[dict[str, object]] = [*first["items"], *rest["items"]]
    ready, near = told
    assert (ready["type"], ready["subject_id"]) == ("server.ready", str(servers[0]))
    assert (near["type"], near["data"]) == ("limit.near", {"what": "servers", "used": 4, "limit": 5})
    assert (await other_client.get("notices")).json()["items"] == []
    assert (await rest_client.get("notices", params={"type": "limit.near"})).json()["items"] == [near]
    assert (await rest_client.get("notices", params={"type": "domain.verified"})).json()["items"] == []
    problem(await rest_client.get("notices", params={"type": "message.bounced"}), 422, "invalid-input")


async def test_a_batch_of_an_agents_is_told_in_its_order_and_repeated_it_is_not(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await make_webhook(rest_client, 1)
    first, second = await make_sends(system_database, inbox, 2)
    token = uuid7()
    await run(
        system_database, "UPDATE messages SET state = 'queued', lease_token = :t, lease_deadline = now()", t=token
    )
    now = int(datetime.now(UTC).timestamp() * 1000)
    batch = [
        DeliveryEvent(
            event_id=uuid7().bytes, send_id=send.bytes, lease_token=token.bytes, at_ms=now, kind=kind, queue_id="4XyZ"
        )
        for kind in (DeliveryEvent.KIND_RELAYED, DeliveryEvent.KIND_DELIVERED)
        for send in (first, second)
    ]
    for _ in range(2):
        await apply_events(system_database, inbox.vps_id, batch)
    assert await events_of(system_database) == [
        ("message.relayed", str(first)),
        ("message.relayed", str(second)),
        ("message.delivered", str(first)),
        ("message.delivered", str(second)),
    ]
    assert await count(system_database, "webhook_deliveries") == 4


async def test_what_had_no_effect_and_what_is_ours_alone_is_not_told(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await make_webhook(rest_client, 1)
    [send_id] = await make_sends(system_database, inbox, 1)
    await tell(system_database, inbox, send_id, "delivered", applied=False)
    await tell(system_database, inbox, send_id, "requeued", "lease_expired")
    assert await count(system_database, "tenant_events") == 0


async def test_what_is_rolled_back_is_not_told(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await make_webhook(rest_client, 1)
    [send_id] = await make_sends(system_database, inbox, 1)
    with pytest.raises(Exception, match="kind"):
        await tell(system_database, inbox, send_id, "delivered", "no such kind")
    assert await count(system_database, "tenant_events") == 0


async def test_a_tenant_that_cancels_by_rest_is_told(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await make_webhook(rest_client, 1, event_types=["message.cancelled"])
    [send_id] = await make_sends(system_database, inbox, 1)
    assert (await rest_client.delete(f"messages/{send_id}")).status_code < 300
    assert await events_of(system_database) == [("message.cancelled", str(send_id))]
    assert await count(system_database, "webhook_deliveries") == 1


async def test_endpoints_get_what_they_ask_for(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, tenant: SomeTenant
) -> None:
    await run(system_database, "INSERT INTO workspaces (tenant_id, name) VALUES (:t, 'Other')", t=tenant.id)
    async with system_database.system() as session:
        other = await session.scalar(text("SELECT id FROM workspaces WHERE name = 'Other'"))
    all_of_it = await make_webhook(rest_client, 1)
    bounces = await make_webhook(rest_client, 2, event_types=["message.bounced"])
    own = await make_webhook(rest_client, 3, workspace_id=str(tenant.workspace_id))
    elsewhere = await make_webhook(rest_client, 4, workspace_id=str(other))
    off = await make_webhook(rest_client, 5)
    await rest_client.patch(f"webhooks/{off['id']}", json={"enabled": False})
    gone = await make_webhook(rest_client, 6)
    await rest_client.delete(f"webhooks/{gone['id']}")
    [send_id] = await make_sends(system_database, inbox, 1)
    await tell(system_database, inbox, send_id, "deferred", "bounced")
    told = {}
    for hook in (all_of_it, bounces, own, elsewhere, off):
        listed = (await rest_client.get(f"webhooks/{hook['id']}/deliveries")).json()["items"]
        told[hook["id"]] = [item["type"] for item in listed]
    both = ["message.bounced", "message.deferred"]
    assert list(told.values()) == [both, ["message.bounced"], both, [], []]


async def test_domains_inboxes_servers_and_certificates_are_told_of(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    await make_webhook(rest_client, 1)
    server = await make_server(system_database, tenant, status="provisioning")
    inbox = await make_inbox(system_database, tenant, server, status="pending_dns")
    for _ in range(2):
        await run(system_database, "UPDATE vps_servers SET status = 'ready' WHERE id = :id", id=server)
        await run(system_database, "UPDATE inboxes SET status = 'ready' WHERE id = :id", id=inbox.id)
    check = (
        "INSERT INTO health_checks (vps_id, kind, tenant_id, state, sentence, at, changed_at)"
        " VALUES (:id, 'ssl', :tenant, :state, 'Its certificate.', now(), now())"
        " ON CONFLICT (vps_id, kind) DO UPDATE SET state = excluded.state"
    )
    for state in ("ok", "warn", "warn", "fail", "ok"):
        await run(system_database, check, id=server, tenant=tenant.id, state=state)
    assert [kind for kind, _ in await events_of(system_database)] == [
        *("server.ready", "domain.verified", "inbox.ready", "certificate.failing", "certificate.failing")
    ]


async def test_after_thirty_days_events_and_deleted_endpoints_are_forgotten(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    hook = await make_webhook(rest_client, 1)
    old, new = await make_sends(system_database, inbox, 2)
    await tell(system_database, inbox, old, "delivered")
    await run(system_database, "UPDATE tenant_events SET recorded_at = now() - interval '31 days'")
    await tell(system_database, inbox, new, "delivered")
    assert await forget_webhooks(system_database) == 1
    assert await events_of(system_database) == [("message.delivered", str(new))]
    assert await count(system_database, "webhook_deliveries") == 1
    await rest_client.delete(f"webhooks/{hook['id']}")
    await forget_webhooks(system_database)
    assert await count(system_database, "webhook_endpoints") == 0


async def test_writers_of_events_do_not_wait_for_one_who_records_a_failure(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    hook = await make_webhook(rest_client, 1)
    [send_id] = await make_sends(system_database, inbox, 1)
    lock = text("SELECT FROM webhook_endpoints WHERE id = :id FOR NO KEY UPDATE")
    async with system_database.system() as session:
        await session.execute(lock, {"id": hook["id"]})
        async with asyncio.timeout(10):
            await tell(system_database, inbox, send_id, "delivered")
