import datetime as dt
import uuid

import httpx
import psycopg
import pytest
from psycopg.sql import SQL
from sqlalchemy import update

from control_plane.messages import search
from control_plane.messages.search import Walk, Wanted
from control_plane.tenancy.scope import TenantScope
from db.models import Message
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.rest import pointers, problem


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def found(client: httpx.AsyncClient, **wanted: str | int) -> list[str]:
    """Return what a search finds, all pages of it."""
    ids: list[str] = []
    after = None
    while True:
        answer = await client.get("messages", params={**wanted, **({"after": after} if after else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        ids += [item["id"] for item in page["items"]]
        if (after := page["next"]) is None:
            return ids


def newest_first(ids: list[uuid.UUID]) -> list[str]:
    return [str(each) for each in sorted(ids, reverse=True)]


async def change(database: Database, send_id: uuid.UUID, **values: str) -> None:
    async with database.system() as session:
        await session.execute(update(Message).where(Message.id == send_id).values(values))


async def test_messages_of_all_inboxes_are_found_newest_first(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    tenant: SomeTenant,
    inbox: SomeInbox,
) -> None:
    first = await make_sends(system_database, inbox, 3)
    second = await make_inbox(system_database, tenant, inbox.vps_id)
    ids = first + await make_sends(system_database, second, 2)
    assert await found(rest_client, limit=2) == newest_first(ids)
    assert await found(rest_client, inbox=str(inbox.id)) == newest_first(first)
    assert await found(other_client) == []
    problem(await other_client.get("messages", params={"inbox": str(inbox.id)}), 404, "not-found")


async def test_each_filter_picks_its_messages(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 4)
    [to_anna] = await make_sends(system_database, inbox, 1, recipient="Anna.B@walrus.example")
    await change(system_database, ids[1], state="uncertain")
    await change(system_database, ids[2], subject="100 % Herring_s")
    assert await found(rest_client, recipient="anna.b@WALRUS.example") == [str(to_anna)]
    assert await found(rest_client, recipient="nobody@walrus.example") == []
    assert await found(rest_client, state="uncertain") == [str(ids[1])]
    assert await found(rest_client, subject="% herring_") == [str(ids[2])]
    assert await found(rest_client, subject="_ herring") == []
    assert await found(rest_client, subject="fish", state="accepted", recipient="b@walrus.example") == newest_first(
        [ids[0], ids[3]]
    )


async def test_a_time_is_where_ids_begin(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 2)
    now = dt.datetime.now(dt.UTC)
    before, after = (now - dt.timedelta(hours=1)).isoformat(), (now + dt.timedelta(hours=1)).isoformat()
    assert await found(rest_client, created_after=before, created_before=after) == newest_first(ids)
    assert await found(rest_client, created_before=before) == []
    assert await found(rest_client, created_after=after) == []
    assert await found(rest_client, created_after="1960-01-01T00:00:00Z") == newest_first(ids)
    assert await found(rest_client, created_after="9999-12-31T23:59:59Z") == []


async def test_a_search_walks_so_far_and_goes_on_from_there(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_WALKED", 2)
    ids = sorted(await make_sends(system_database, inbox, 5))
    await change(system_database, ids[0], subject="Herring", state="uncertain")
    page = (await rest_client.get("messages", params={"subject": "herring"})).json()
    assert page["items"] == []
    assert page["next"] is not None
    assert await found(rest_client, subject="herring") == [str(ids[0])]


@pytest.mark.parametrize(
    ("wanted", "condition"),
    [(Wanted(recipient="nobody@walrus.example"), "recipient_folded = "), (Wanted(state="bounced"), "(state)::text = ")],
)
async def test_an_index_serves_what_is_searched_by_under_row_level_security(
    api_database: Database,
    system_database: Database,
    owner_url: str,
    inbox: SomeInbox,
    *,
    wanted: Wanted,
    condition: str,
) -> None:
    """Only what leaks nothing is asked of an index before the policy holds: lower(recipient) would not be."""
    # Of an empty table any index is as good as another.
    await make_sends(system_database, inbox, 200)
    with psycopg.connect(owner_url) as owner:
        owner.execute("ANALYZE messages")
    walk = Walk.towards(TenantScope(inbox.tenant.id, frozenset()), wanted, None)
    async with api_database.tenant_connection(inbox.tenant.id) as connection:
        for way in ("seqscan", "bitmapscan"):
            await connection.execute(f"SET LOCAL enable_{way} = off")
        explained = await connection.execute(SQL("EXPLAIN ") + walk.page, {**walk.values, "limit": 20})
        plan = [line for (line,) in await explained.fetchall()]
    assert any("Index Cond" in line and condition in line for line in plan), "\n".join(plan)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recipient", "nobody"),
        ("state", "lost"),
        ("subject", ""),
        ("created_after", "2026-01-01T00:00:00"),
        ("created_before", "0"),
        ("inbox", "1"),
    ],
)
async def test_what_cannot_be_searched_for_is_refused(rest_client: httpx.AsyncClient, name: str, value: str) -> None:
    answer = await rest_client.get("messages", params={name: value})
    assert pointers(problem(answer, 422, "invalid-input")) == [f"query/{name}"]
