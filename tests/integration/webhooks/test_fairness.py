"""Tenants share the deliverer's places: one whose endpoints never answer holds up none of the others."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from control_plane.webhooks import deliverer as deliverer_module
from control_plane.webhooks.attempt import Poster
from control_plane.webhooks.claim import AT_ONCE, Claim, claim_due
from control_plane.webhooks.deliverer import CONCURRENCY, Deliverer
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.webhooks.hooks import make_webhook, tell
from tests.integration.webhooks.receiver import HANG, Receiver, receiving

_HALF = CONCURRENCY // 2
_FINISH = text("UPDATE webhook_deliveries SET state = 'delivered', claim_token = NULL WHERE id = :id")


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
async def other_inbox(system_database: Database, other_tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))


async def make_due(database: Database, inbox: SomeInbox, sends: int) -> None:
    """Have something to tell each endpoint of the inbox's tenant, about so many sends."""
    for send_id in await make_sends(database, inbox, sends):
        await tell(database, inbox, send_id, "delivered")


@asynccontextmanager
async def delivering(deliverer: Deliverer) -> AsyncIterator[None]:
    """Run it meanwhile."""
    running = asyncio.create_task(deliverer.deliver_for_ever())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until_came(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(20):
        while len(receiver.got) < count:
            receiver.came.clear()
            await receiver.came.wait()


def shares(claims: Sequence[Claim], *tenants: SomeTenant) -> list[int]:
    """Return how many of them are each tenant's."""
    return [sum(claim.tenant_id == each.id for claim in claims) for each in tenants]


async def test_many_endpoints_of_one_tenant_that_never_answer_hold_up_no_other_tenant(
    *,
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    other_inbox: SomeInbox,
    deliverer: Deliverer,
) -> None:
    # Longer than this test waits for anything.
    patient = Poster(private_targets=True, timeout_seconds=120)
    async with receiving(lambda _: HANG) as hanging, receiving() as well, aclosing(patient):
        for _ in range(CONCURRENCY // AT_ONCE + 1):
            await make_webhook(rest_client, hanging.port)
        await make_webhook(other_client, well.port)
        await make_due(system_database, inbox, AT_ONCE)
        async with delivering(replace(deliverer, poster=patient)):
            await until_came(hanging, _HALF)
            await make_due(system_database, other_inbox, AT_ONCE + 1)
            await until_came(well, AT_ONCE + 1)
        assert len(hanging.got) == _HALF


async def test_of_what_is_free_each_tenant_leaves_as_much_as_it_has(
    *,
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    other_inbox: SomeInbox,
) -> None:
    for client in (rest_client, other_client):
        for port in range(1, 6):
            await make_webhook(client, port)
    await make_due(system_database, inbox, AT_ONCE)
    first, _ = await claim_due(system_database, CONCURRENCY)
    await make_due(system_database, other_inbox, AT_ONCE)
    free = CONCURRENCY - len(first)
    second, _ = await claim_due(system_database, free)
    free -= len(second)
    third, more = await claim_due(system_database, free)
    tenants = (inbox.tenant, other_inbox.tenant)
    assert [shares(each, *tenants) for each in (first, second, third)] == [[_HALF, 0], [0, _HALF // 2], [0, 0]]
    assert not more
    # Of the tenant's own endpoints none has two more places than another, either.
    places = Counter(claim.endpoint_id for claim in first).values()
    assert (len(places), max(places) - min(places)) == (5, 1)
    # When the first has let half of its places go both have as many, and get as many more.
    async with system_database.system() as session:
        await session.execute(_FINISH, [{"id": claim.id} for claim in first[: _HALF // 2]])
    fourth, _ = await claim_due(system_database, free + _HALF // 2)
    assert shares(fourth, *tenants) == [3, 3]


async def test_tenants_that_begin_together_get_as_much_each(
    *,
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    other_inbox: SomeInbox,
) -> None:
    for client, mailbox in ((rest_client, inbox), (other_client, other_inbox)):
        for port in range(1, 6):
            await make_webhook(client, port)
        await make_due(system_database, mailbox, AT_ONCE)
    claims, _ = await claim_due(system_database, CONCURRENCY)
    # A third of the places each, and a third, or one less, is left.
    assert shares(claims, inbox.tenant, other_inbox.tenant) == [(CONCURRENCY + 1) // 3] * 2


async def test_a_place_that_is_let_go_is_used_at_once(
    rest_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    deliverer: Deliverer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliverer_module, "_SECONDS_BETWEEN_LOOKS", 3600)
    async with receiving() as receiver:
        await make_webhook(rest_client, receiver.port)
        await make_due(system_database, inbox, 3 * AT_ONCE)
        async with delivering(deliverer):
            await until_came(receiver, 3 * AT_ONCE)
