import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from control_plane.queuer.allot import Line
from control_plane.queuer.pauses import Held, Subject, pause
from control_plane.queuer.statements import claim
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    await make_sends(system_database, inbox, 2)
    return inbox


async def leased(database: Database, inbox: SomeInbox) -> int:
    return len(await claim(database, {Line(inbox.vps_id, 1): 1}, 300))


async def test_a_tenant_sees_its_queue_and_why_it_waits(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    async with system_database.system() as session:
        await session.execute(text("UPDATE inboxes SET daily_send_limit = 0"))
        await session.execute(text("UPDATE vps_servers SET last_seen_at = now()"))
        await pause(session, Held(Subject.VPS, inbox.tenant.id, vps_id=inbox.vps_id), "a look", by_operator=True)
        await pause(session, Held(Subject.PRIORITY, None, priority=2), by_operator=True)

    body = (await rest_client.get("queue")).json()

    [depth] = body["depth"]
    assert (depth["vps_id"], depth["priority"]) == (str(inbox.vps_id), "normal")
    assert (depth["waiting"], depth["due"], depth["leased"], depth["dead"]) == (2, 2, 0, 0)
    [standing] = body["standing"]
    assert standing["inbox_id"] == str(inbox.id)
    assert standing["why"] == "the server is paused, the inbox has used its daily limit of 0"
    [held] = body["pauses"]
    assert (held["subject"], held["of"], held["by_operator"]) == ("vps", str(inbox.vps_id), True)
    assert (await rest_client.delete(f"queue/pauses/{held['id']}")).status_code == 404
    assert (await other_client.get("queue")).json() == {"depth": [], "standing": [], "pauses": []}


@pytest.mark.parametrize("subject", ["vps", "inbox", "tenant", "priority"])
async def test_a_tenant_pauses_and_resumes_its_own(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    subject: str,
) -> None:
    of = {"vps": str(inbox.vps_id), "inbox": str(inbox.id), "tenant": None, "priority": "normal"}[subject]
    body: dict[str, Any] = {"subject": subject, "reason": "a holiday"} | ({"of": of} if of else {})
    made = await rest_client.post("queue/pauses", json=body)
    assert made.status_code == 201
    assert (made.json()["subject"], made.json()["of"], made.json()["by_operator"]) == (subject, of, False)
    assert (await rest_client.post("queue/pauses", json=body)).json()["id"] == made.json()["id"]
    assert await leased(system_database, inbox) == 0

    assert (await other_client.delete(f"queue/pauses/{made.json()['id']}")).status_code == 404
    assert (await rest_client.delete(f"queue/pauses/{made.json()['id']}")).status_code == 204
    assert (await rest_client.delete(f"queue/pauses/{made.json()['id']}")).status_code == 404
    assert await leased(system_database, inbox) == 1


async def test_a_priority_that_one_tenant_pauses_is_not_paused_for_another(
    other_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    assert (await other_client.post("queue/pauses", json={"subject": "priority", "of": "normal"})).status_code == 201
    assert await leased(system_database, inbox) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"subject": "priority", "of": "urgent"}, 422),
        ({"subject": "inbox"}, 422),
        ({"subject": "inbox", "of": str(uuid.uuid4())}, 404),
        ({"subject": "world"}, 422),
        ({"subject": "tenant", "by_operator": True}, 422),
        ({"subject": "tenant", "reason": "a\0b"}, 422),
    ],
)
async def test_what_cannot_be_paused_is_refused(
    rest_client: httpx.AsyncClient, tenant: SomeTenant, body: dict[str, Any], code: int
) -> None:
    assert (await rest_client.post("queue/pauses", json=body)).status_code == code


async def test_another_tenants_inbox_cannot_be_paused(other_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    for subject, of in (("inbox", inbox.id), ("vps", inbox.vps_id)):
        answer = await other_client.post("queue/pauses", json={"subject": subject, "of": str(of)})
        assert answer.status_code == 404
