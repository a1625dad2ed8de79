"""Deliveries to a real receiver: signed, in order, at least once, and never to nobody."""

import asyncio
import contextlib
import json
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from control_plane.webhooks.attempt import Answer
from control_plane.webhooks.claim import claim_due, record
from control_plane.webhooks.deliverer import CONCURRENCY, Deliverer
from control_plane.webhooks.verdict import Verdict
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.webhooks.hooks import make_due, make_webhook, states, tell
from tests.integration.webhooks.receiver import HANG, OK, Got, receiving


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def shift(database: Database, table: str, column: str, by: timedelta) -> None:
    async with database.system() as session:
        await session.execute(
            text(f"UPDATE {table} SET {column} = {column} - CAST(:by AS interval)"),  # noqa: S608 - names of ours
            {"by": by},
        )


def types(got: list[Got]) -> list[str]:
    return [json.loads(each.body)["type"] for each in got]


async def test_an_event_arrives_signed_with_what_it_tells(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    async with receiving() as receiver:
        hook = await make_webhook(rest_client, receiver.port)
        await tell(system_database, inbox, send_id, "delivered")
        assert await deliverer.deliver_due() == 1
    [got] = receiver.got
    told = Webhook(hook["secret"]).verify(got.body, got.headers)
    [shown] = (await rest_client.get("events")).json()["items"]
    assert (told["type"], told["id"]) == ("message.delivered", got.headers["webhook-id"])
    assert (told["id"], told["data"]) == (shown["id"], shown["data"])
    assert (told["data"]["message_id"], told["data"]["recipient"]) == (str(send_id), "b@walrus.example")
    with pytest.raises(WebhookVerificationError):
        Webhook(hook["secret"]).verify(got.body + b" ", got.headers)
    assert await states(system_database) == ["delivered"]


async def test_after_a_rotation_both_secrets_sign_until_the_overlap_is_over(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    sends = await make_sends(system_database, inbox, 2)
    async with receiving() as receiver:
        hook = await make_webhook(rest_client, receiver.port)
        rotated = (await rest_client.post(f"webhooks/{hook['id']}:rotate")).json()
        await tell(system_database, inbox, sends[0], "delivered")
        await deliverer.deliver_due()
        await shift(system_database, "webhook_endpoints", "previous_secret_until", timedelta(days=2))
        await tell(system_database, inbox, sends[1], "delivered")
        await deliverer.deliver_due()
    during, after = receiver.got
    for secret in (hook["secret"], rotated["secret"]):
        Webhook(secret).verify(during.body, during.headers)
    Webhook(rotated["secret"]).verify(after.body, after.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(hook["secret"]).verify(after.body, after.headers)


async def test_what_is_about_one_send_arrives_in_order_whatever_fails_and_holds_up_no_other(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    slow, quick = await make_sends(system_database, inbox, 2)
    failures = iter([True, False, True, True, False, False])

    def fails_for_the_slow(got: Got) -> str:
        about = json.loads(got.body)["data"]["message_id"]
        return "500 No" if about == str(slow) and next(failures) else OK

    async with receiving(fails_for_the_slow) as receiver:
        await make_webhook(rest_client, receiver.port)
        await tell(system_database, inbox, slow, "relayed", "deferred", "delivered")
        await tell(system_database, inbox, quick, "relayed", "delivered")
        while "waiting" in await states(system_database):
            await make_due(system_database)
            await deliverer.deliver_due()
    told = [(got.headers["webhook-id"], kind) for got, kind in zip(receiver.got, types(receiver.got), strict=True)]
    about_slow = [
        kind.removeprefix("message.")
        for got, (_, kind) in zip(receiver.got, told, strict=True)
        if json.loads(got.body)["data"]["message_id"] == str(slow)
    ]
    assert about_slow == ["relayed", "relayed", "deferred", "deferred", "deferred", "delivered"]
    # An event has one id, at each attempt.
    assert len({identifier for identifier, _ in told}) == 5
    # The quick one's first event did not wait for the slow one's second try.
    quicks = [json.loads(got.body)["data"]["message_id"] == str(quick) for got in receiver.got]
    assert quicks.index(True) < 2


async def test_a_deliverer_killed_between_the_answer_and_its_record_has_it_told_again_under_the_same_id(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    async with receiving() as receiver:
        await make_webhook(rest_client, receiver.port)
        await tell(system_database, inbox, send_id, "relayed", "delivered")
        [claim], _ = await claim_due(system_database, CONCURRENCY)
        await deliverer.poster.post(claim.url, b"{}", {"webhook-id": str(claim.event_id)})
        # It ends here. While its claim lasts nobody else tries, neither this one nor the one behind it.
        assert await deliverer.deliver_due() == 0
        await make_due(system_database)
        assert await deliverer.deliver_due() == 2
        # Had it only been paused: what it records now no longer counts.
        await record(system_database, claim, Answer(410), Verdict(disable="It answered 410: gone."))
    ids = [got.headers["webhook-id"] for got in receiver.got]
    assert ids[0] == ids[1] == str(claim.event_id)
    assert ids[2] != ids[0]
    assert await states(system_database) == ["delivered", "delivered"]


async def test_of_two_deliverers_at_once_each_event_goes_to_one(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    sends = await make_sends(system_database, inbox, 30)
    async with receiving() as receiver:
        await make_webhook(rest_client, receiver.port)
        for send_id in sends:
            await tell(system_database, inbox, send_id, "delivered")
        await asyncio.gather(*(deliverer.deliver_due() for _ in range(3)))
        await deliverer.deliver_due()
    assert len(receiver.got) == len({got.headers["webhook-id"] for got in receiver.got}) == 30


async def test_one_that_hangs_holds_up_nobody_else(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    sends = await make_sends(system_database, inbox, CONCURRENCY + 5)
    async with receiving(lambda _: HANG) as hanging, receiving() as well:
        await make_webhook(rest_client, hanging.port)
        await make_webhook(rest_client, well.port)
        for send_id in sends:
            await tell(system_database, inbox, send_id, "delivered")
        running = asyncio.create_task(deliverer.deliver_for_ever())
        async with asyncio.timeout(20):
            while len(well.got) < len(sends):
                well.came.clear()
                await well.came.wait()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert len(hanging.got) < len(sends)


async def test_410_disables_the_endpoint_and_the_others_are_told(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    first, second = await make_sends(system_database, inbox, 2)
    async with receiving(lambda _: "410 Gone") as gone, receiving() as other:
        hook = await make_webhook(rest_client, gone.port, event_types=["message.delivered"])
        await make_webhook(rest_client, other.port, event_types=["webhook.disabled"])
        await tell(system_database, inbox, first, "delivered")
        await deliverer.deliver_due()
        await tell(system_database, inbox, second, "delivered")
        await deliverer.deliver_due()
    shown = (await rest_client.get(f"webhooks/{hook['id']}")).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "It answered 410: gone.")
    assert (len(gone.got), types(other.got)) == (1, ["webhook.disabled"])
    # What happened meanwhile is not lost: the range is replayed once it is enabled again.
    assert (await rest_client.post(f"webhooks/{hook['id']}:ping")).status_code == 409
    await rest_client.patch(f"webhooks/{hook['id']}", json={"enabled": True})
    day = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    assert (await rest_client.post(f"webhooks/{hook['id']}:replay", json=day)).json() == {"replayed": 2, "next": None}


async def test_after_three_days_a_delivery_is_dead_and_can_be_replayed(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    answers = iter(["500 No", "500 No", OK])
    async with receiving(lambda _: next(answers)) as receiver:
        hook = await make_webhook(rest_client, receiver.port)
        await tell(system_database, inbox, send_id, "delivered")
        await deliverer.deliver_due()
        assert await states(system_database) == ["waiting"]
        await shift(system_database, "webhook_deliveries", "waiting_since", timedelta(days=3))
        await make_due(system_database)
        await deliverer.deliver_due()
        [dead] = (await rest_client.get(f"webhooks/{hook['id']}/deliveries?state=dead")).json()["items"]
        assert (dead["attempts"], dead["last_status"], dead["last_error"]) == (2, 500, "it answered 500")
        path = f"webhooks/{hook['id']}/deliveries/{dead['id']}:replay"
        assert (await rest_client.post(path)).status_code == 202
        await deliverer.deliver_due()
    assert await states(system_database) == ["delivered"]
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


async def test_an_endpoint_that_failed_for_five_days_is_disabled_with_the_reason(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, deliverer: Deliverer
) -> None:
    first, second = await make_sends(system_database, inbox, 2)
    async with receiving(lambda _: "500 No") as receiver:
        hook = await make_webhook(rest_client, receiver.port)
        await tell(system_database, inbox, first, "delivered")
        await deliverer.deliver_due()
        await shift(system_database, "webhook_endpoints", "failing_since", timedelta(days=5))
        await tell(system_database, inbox, second, "delivered")
        await deliverer.deliver_due()
    shown = (await rest_client.get(f"webhooks/{hook['id']}")).json()
    assert (shown["enabled"], "5 days" in shown["disabled_reason"]) == (False, True)
    assert await states(system_database) == ["dead", "dead"]
    [notice] = (await rest_client.get("events?type=webhook.disabled")).json()["items"]
    assert notice["subject_id"] == hook["id"]
