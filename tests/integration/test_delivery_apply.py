import asyncio
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from control_plane.delivery.apply import apply_events
from control_plane.queuer.allot import Line
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.statements import claim, reclaim
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent, EventsConfirmed, RemoteReply
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def lease(database: Database, inbox: SomeInbox, count: int = 1) -> list[LeasedSend]:
    await make_sends(database, inbox, count)
    return await claim(database, {Line(inbox.vps_id, 1): count}, 300)


def event(
    send: LeasedSend, kind: DeliveryEvent.Kind.ValueType, queue_id: str = "", reply: RemoteReply | None = None
) -> DeliveryEvent:
    return DeliveryEvent(
        event_id=uuid.uuid4().bytes,
        send_id=send.id.bytes,
        lease_token=send.lease_token.bytes,
        at_ms=int(AT.timestamp() * 1000),
        kind=kind,
        queue_id=queue_id,
        reply=reply,
    )


async def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    async with database.system() as session:
        return [tuple(row) for row in await session.execute(text(statement))]


TIMELINE = "SELECT kind, applied FROM message_events ORDER BY recorded_at, kind"


async def test_a_batch_is_applied_in_its_order_and_every_event_confirmed(
    system_database: Database, inbox: SomeInbox
) -> None:
    delivered, bounced = await lease(system_database, inbox, 2)
    reply = RemoteReply(relay="mx[10.77.0.9]:25", enhanced_status="5.1.1", text="550 no such user")
    events = [
        event(delivered, DeliveryEvent.KIND_RELAYED, queue_id="4cYx1"),
        event(bounced, DeliveryEvent.KIND_RELAYED, queue_id="4cYx2"),
        event(bounced, DeliveryEvent.KIND_BOUNCED, queue_id="4cYx2", reply=reply),
        event(delivered, DeliveryEvent.KIND_DEFERRED, queue_id="4cYx1"),
        event(delivered, DeliveryEvent.KIND_DELIVERED, queue_id="4cYx1"),
    ]

    confirmed = await apply_events(system_database, inbox.vps_id, events)

    assert list(confirmed.event_ids) == [each.event_id for each in events]
    assert set(confirmed.closed_send_ids) == {delivered.id.bytes, bounced.id.bytes}
    columns = "SELECT state, queue_id, state_reason, relayed_at, final_at FROM messages ORDER BY state"
    assert await rows(system_database, columns) == [
        ("bounced", "4cYx2", "550 no such user", AT, AT),
        ("delivered", "4cYx1", None, AT, AT),
    ]
    detail = "SELECT detail FROM message_events WHERE kind = 'bounced'"
    assert await rows(system_database, detail) == [
        (
            {
                "queue_id": "4cYx2",
                "relay": "mx[10.77.0.9]:25",
                "enhanced_status": "5.1.1",
                "text": "550 no such user",
                "delay_seconds": 0.0,
            },
        )
    ]


async def test_the_same_event_is_applied_once(system_database: Database, inbox: SomeInbox) -> None:
    [send] = await lease(system_database, inbox)
    relayed = event(send, DeliveryEvent.KIND_RELAYED)

    for _ in range(2):
        confirmed = await apply_events(system_database, inbox.vps_id, [relayed, relayed])
        assert list(confirmed.event_ids) == [relayed.event_id] * 2
        assert not confirmed.closed_send_ids

    assert await rows(system_database, TIMELINE) == [("relayed", True)]


async def test_batches_at_the_same_time_apply_each_event_once(system_database: Database, inbox: SomeInbox) -> None:
    sends = await lease(system_database, inbox, 20)
    events = [event(send, DeliveryEvent.KIND_RELAYED) for send in sends]
    back = list(reversed(events))

    await asyncio.gather(*(apply_events(system_database, inbox.vps_id, batch) for batch in (events, back, events)))

    assert await states_of(system_database, [send.id for send in sends]) == ["relayed"] * 20
    assert await rows(system_database, TIMELINE) == [("relayed", True)] * 20


async def test_a_late_event_of_an_old_lease_is_recorded_and_changes_nothing(
    system_database: Database, inbox: SomeInbox
) -> None:
    [old] = await lease(system_database, inbox)
    await rows(system_database, "UPDATE messages SET lease_deadline = now() - interval '1 h' RETURNING id")
    await reclaim(system_database, 30)
    [new] = await claim(system_database, {Line(inbox.vps_id, 1): 1}, 300)
    late = event(old, DeliveryEvent.KIND_DELIVERED)

    assert (await apply_events(system_database, inbox.vps_id, [late])) == EventsConfirmed(event_ids=[late.event_id])

    assert await states_of(system_database, [new.id]) == ["queued"]
    assert await rows(system_database, TIMELINE) == [("requeued", True), ("delivered", False)]
    assert await rows(system_database, "SELECT lease_token FROM messages") == [(new.lease_token,)]
    again = event(new, DeliveryEvent.KIND_DELIVERED)
    for told in (again, late):
        confirmed = await apply_events(system_database, inbox.vps_id, [told])
        assert list(confirmed.closed_send_ids) == [new.id.bytes]


async def test_a_send_that_failed_is_not_closed_since_an_operator_may_retry_it(
    system_database: Database, inbox: SomeInbox
) -> None:
    [send] = await lease(system_database, inbox)
    confirmed = await apply_events(system_database, inbox.vps_id, [event(send, DeliveryEvent.KIND_FAILED)])
    assert await states_of(system_database, [send.id]) == ["failed"]
    assert not confirmed.closed_send_ids


async def test_an_unused_lease_is_given_back_at_once_and_the_send_leased_anew(
    system_database: Database, inbox: SomeInbox
) -> None:
    [send] = await lease(system_database, inbox)
    await apply_events(system_database, inbox.vps_id, [event(send, DeliveryEvent.KIND_LEASE_EXPIRED)])
    assert await states_of(system_database, [send.id]) == ["accepted"]

    [again] = await claim(system_database, {Line(inbox.vps_id, 1): 1}, 300)

    assert again.id == send.id
    assert again.lease_token != send.lease_token


async def test_relayed_after_delivered_stays_delivered(system_database: Database, inbox: SomeInbox) -> None:
    [send] = await lease(system_database, inbox)
    for kind in (DeliveryEvent.KIND_DELIVERED, DeliveryEvent.KIND_RELAYED):
        await apply_events(system_database, inbox.vps_id, [event(send, kind)])
    assert await states_of(system_database, [send.id]) == ["delivered"]
    assert await rows(system_database, TIMELINE) == [("delivered", True), ("relayed", False)]


async def test_events_of_sends_that_the_server_does_not_have_are_confirmed_and_change_nothing(
    system_database: Database,
    inbox: SomeInbox,
    tenant: SomeTenant,
    other_tenant: SomeTenant,
    caplog: pytest.LogCaptureFixture,
) -> None:
    neighbour = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    foreign = await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))
    theirs = [*(await lease(system_database, neighbour)), *(await lease(system_database, foreign))]
    unknown = LeasedSend(uuid.uuid4(), inbox.vps_id, 1, uuid.uuid4(), AT, "", "", "", b"", 1)
    events = [event(send, DeliveryEvent.KIND_DELIVERED) for send in (*theirs, unknown)]

    with caplog.at_level(logging.WARNING):
        confirmed = await apply_events(system_database, inbox.vps_id, events)

    assert confirmed == EventsConfirmed(event_ids=[each.event_id for each in events])
    assert await states_of(system_database, [send.id for send in theirs]) == ["queued"] * 2
    assert await rows(system_database, TIMELINE) == []
    assert "3 sends that it does not have" in caplog.text


async def test_a_malformed_event_is_set_aside_and_those_beside_it_are_applied(
    system_database: Database, inbox: SomeInbox
) -> None:
    [send] = await lease(system_database, inbox)
    nameless = event(send, DeliveryEvent.KIND_RELAYED)
    nameless.event_id = b"?"
    nul = RemoteReply(text="250 \0 ok", delay_seconds=float("nan"))
    events = [nameless, event(send, 99), event(send, DeliveryEvent.KIND_DELIVERED, reply=nul)]  # type: ignore[arg-type]

    confirmed = await apply_events(system_database, inbox.vps_id, events)

    assert list(confirmed.event_ids) == [each.event_id for each in events]
    assert await states_of(system_database, [send.id]) == ["delivered"]
    assert await rows(system_database, "SELECT detail FROM message_events") == [({"text": "250  ok"},)]


async def test_a_send_whose_inbox_goes_while_it_is_leased_ends_when_the_lease_does(
    system_database: Database, inbox: SomeInbox
) -> None:
    given_back, silent = await lease(system_database, inbox, 2)
    async with system_database.system() as session:
        await session.execute(text("UPDATE inboxes SET status = 'deleting'"))
    await apply_events(system_database, inbox.vps_id, [event(given_back, DeliveryEvent.KIND_LEASE_EXPIRED)])
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET lease_deadline = now() - interval '1 hour'"))
    assert await reclaim(system_database, tolerance_seconds=30) == 1
    assert await states_of(system_database, [given_back.id, silent.id]) == ["cancelled", "uncertain"]
    assert await rows(system_database, TIMELINE) == [("lease_expired", True), ("uncertain", True)]


@pytest.mark.parametrize(
    ("code", "kind", "suppressed"),
    [
        ("5.1.1", DeliveryEvent.KIND_BOUNCED, [("b@walrus.example", "hard-bounce", "delivery")]),
        ("5.2.2", DeliveryEvent.KIND_BOUNCED, []),
        ("5.7.1", DeliveryEvent.KIND_BOUNCED, []),
        ("5.1.1", DeliveryEvent.KIND_DEFERRED, []),
        ("", DeliveryEvent.KIND_BOUNCED, []),
    ],
)
async def test_an_address_that_bounces_for_good_is_suppressed_with_the_event(
    system_database: Database,
    inbox: SomeInbox,
    code: str,
    kind: DeliveryEvent.Kind.ValueType,
    suppressed: list[tuple[str, ...]],
) -> None:
    [send] = await lease(system_database, inbox)
    reply = RemoteReply(enhanced_status=code, text="no")
    events = [event(send, DeliveryEvent.KIND_RELAYED), event(send, kind, reply=reply)]
    for _ in range(2):
        await apply_events(system_database, inbox.vps_id, events)
    listed = "SELECT address, reason, source FROM suppressions WHERE removed_at IS NULL"
    assert await rows(system_database, listed) == suppressed


async def test_a_bounce_under_an_old_lease_suppresses_nobody(system_database: Database, inbox: SomeInbox) -> None:
    [send] = await lease(system_database, inbox)
    late = event(send, DeliveryEvent.KIND_BOUNCED, reply=RemoteReply(enhanced_status="5.1.1"))
    late.lease_token = uuid.uuid4().bytes
    await apply_events(system_database, inbox.vps_id, [late])
    assert await rows(system_database, "SELECT FROM suppressions") == []


async def test_a_bounce_suppresses_again_what_was_taken_off_and_leaves_what_is_there(
    system_database: Database, inbox: SomeInbox
) -> None:
    first, second = await lease(system_database, inbox, 2)
    bounce = RemoteReply(enhanced_status="5.1.1")
    await apply_events(system_database, inbox.vps_id, [event(first, DeliveryEvent.KIND_BOUNCED, reply=bounce)])
    async with system_database.system() as session:
        await session.execute(text("UPDATE suppressions SET removed_at = now(), reason = 'manual'"))
    await apply_events(system_database, inbox.vps_id, [event(second, DeliveryEvent.KIND_BOUNCED, reply=bounce)])
    assert await rows(system_database, "SELECT reason, removed_at FROM suppressions") == [("hard-bounce", None)]
