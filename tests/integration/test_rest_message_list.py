import uuid

import httpx
import pytest
from sqlalchemy import text

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.rest import pointers, problem


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def test_the_newest_come_first_page_by_page(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, inbox: SomeInbox
) -> None:
    ids = sorted(await make_sends(system_database, inbox, 5), reverse=True)
    await make_sends(system_database, await make_inbox(system_database, tenant, inbox.vps_id), 2)
    seen, after = [], ""
    for _ in range(3):
        page = (await rest_client.get(f"inboxes/{inbox.id}/messages?limit=2{after}")).json()
        seen.append([item["id"] for item in page["items"]])
        after = f"&after={page['next']}"
    assert seen == [[str(each) for each in ids[:2]], [str(each) for each in ids[2:4]], [str(ids[4])]]
    assert page["next"] is None
    assert "timeline" not in page["items"][0]


async def test_a_state_picks_its_messages(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 4)
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET state = 'uncertain' WHERE id = :id"), {"id": ids[2]})
    page = (await rest_client.get(f"inboxes/{inbox.id}/messages?state=uncertain")).json()
    assert [(item["id"], item["state"]) for item in page["items"]] == [(str(ids[2]), "uncertain")]
    assert (await rest_client.get(f"inboxes/{inbox.id}/messages?state=bounced")).json()["items"] == []


async def test_a_state_that_is_none_is_refused(rest_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    answer = await rest_client.get(f"inboxes/{inbox.id}/messages?state=lost")
    assert pointers(problem(answer, 422, "invalid-input")) == ["query/state"]


async def test_the_inbox_of_another_tenant_is_not_there(other_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    foreign = problem(await other_client.get(f"inboxes/{inbox.id}/messages"), 404, "not-found")
    unknown = problem(await other_client.get(f"inboxes/{uuid.uuid4()}/messages"), 404, "not-found")
    assert foreign["detail"] == unknown["detail"]
