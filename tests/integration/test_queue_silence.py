"""What is known of a send whose server was silent, gave it back, or speaks when nobody waits any more."""

import uuid
from typing import TypeAlias

import pytest
from sqlalchemy import text

from control_plane.delivery.apply import apply_events
from control_plane.delivery.states import FINAL, SILENCE, UNHEARD, State
from control_plane.messages.cancel import cancel_waiting_sends
from control_plane.queuer.allot import Line
from control_plane.queuer.dead_letters import drop, retry
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.statements import claim, reclaim
from control_plane.queuer.sweep import Sweep
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of

TOLERANCE = 30
RELAYED = DeliveryEvent.KIND_RELAYED
DELIVERED = DeliveryEvent.KIND_DELIVERED
BOUNCED = DeliveryEvent.KIND_BOUNCED
EXPIRED = DeliveryEvent.KIND_EXPIRED
FAILED = DeliveryEvent.KIND_FAILED
LEASE_EXPIRED = DeliveryEvent.KIND_LEASE_EXPIRED

Kind: TypeAlias = DeliveryEvent.Kind.ValueType


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def execute(database: Database, statement: str, **parameters: object) -> None:
    async with database.system() as session:
        await session.execute(text(statement), parameters)


async def lease(database: Database, inbox: SomeInbox) -> LeasedSend:
    [send] = await claim(database, {Line(inbox.vps_id, 1): 10}, 300)
    return send


async def tell(database: Database, send: LeasedSend, *kinds: Kind) -> None:
    events = [
        DeliveryEvent(
            event_id=uuid.uuid4().bytes,
            send_id=send.id.bytes,
            lease_token=send.lease_token.bytes,
            at_ms=1_795_262_400_000,
            kind=kind,
        )
        for kind in kinds
    ]
    await apply_events(database, send.vps_id, events)


async def run_out(database: Database) -> None:
    """Let the lease run out in silence."""
    await execute(database, "UPDATE messages SET lease_deadline = now() - interval '31 s' WHERE state = 'queued'")
    assert await reclaim(database, TOLERANCE) == 1


async def pass_days(database: Database, days: float) -> None:
    """Let everything have happened so many days earlier."""
    columns = ("accepted_at", "send_at", "queued_at", "lease_deadline", "relayed_at", "silent_since")
    changes = ", ".join(f"{column} = {column} - make_interval(secs => :seconds)" for column in columns)
    await execute(database, f"UPDATE messages SET {changes}", seconds=days * 86_400)  # noqa: S608 - names of our own


async def state_of(database: Database, send_id: uuid.UUID) -> str:
    return (await states_of(database, [send_id]))[0]


async def remove_inbox(database: Database, api_database: Database, inbox: SomeInbox) -> None:
    await execute(database, "UPDATE inboxes SET status = 'deleting'")
    async with api_database.tenant(inbox.tenant.id) as session:
        await cancel_waiting_sends(session, TenantScope(inbox.tenant.id, EVERYTHING), inbox.id, "Removed.")


async def suppress(database: Database, inbox: SomeInbox) -> None:
    await execute(
        database,
        "INSERT INTO suppressions (tenant_id, address, reason) VALUES (:tenant, 'b@walrus.example', 'asked')",
        tenant=inbox.tenant.id,
    )
    assert await claim(database, {Line(inbox.vps_id, 1): 10}, 300) == []


# ------------------------------------------------------------ news that comes late


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ([RELAYED, DELIVERED], "delivered"),
        ([RELAYED, BOUNCED], "bounced"),
        ([RELAYED, EXPIRED], "expired"),
        ([DELIVERED], "delivered"),
    ],
)
async def test_what_the_sweep_gave_up_is_what_its_server_says_once_it_speaks(
    system_database: Database, inbox: SomeInbox, kinds: list[Kind], state: str
) -> None:
    await make_sends(system_database, inbox, 1)
    send = await lease(system_database, inbox)
    await tell(system_database, send, RELAYED)
    await pass_days(system_database, 9)
    await Sweep(system_database).look_at_all()
    assert await state_of(system_database, send.id) == "uncertain"

    await tell(system_database, send, *kinds)

    assert await state_of(system_database, send.id) == state


async def test_what_postfix_defers_is_waited_for_and_expires_when_postfix_says_so(
    system_database: Database, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 1)
    send = await lease(system_database, inbox)
    await tell(system_database, send, RELAYED, DeliveryEvent.KIND_DEFERRED)
    await pass_days(system_database, 2.1)
    await Sweep(system_database).look_at_all()
    assert await state_of(system_database, send.id) == "relayed"
    await tell(system_database, send, DeliveryEvent.KIND_DEFERRED, EXPIRED)
    assert await state_of(system_database, send.id) == "expired"


async def test_what_its_server_found_in_the_log_after_all_is_delivered(
    system_database: Database, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 1)
    send = await lease(system_database, inbox)
    await tell(system_database, send, DeliveryEvent.KIND_UNCERTAIN, RELAYED)
    assert await state_of(system_database, send.id) == "relayed"
    await tell(system_database, send, DELIVERED)
    assert await state_of(system_database, send.id) == "delivered"


async def test_an_old_lease_settles_nothing_that_is_uncertain(system_database: Database, inbox: SomeInbox) -> None:
    await make_sends(system_database, inbox, 1)
    old = await lease(system_database, inbox)
    await run_out(system_database)
    send = await lease(system_database, inbox)
    await tell(system_database, send, DeliveryEvent.KIND_UNCERTAIN)
    await tell(system_database, old, RELAYED, DELIVERED, LEASE_EXPIRED)
    assert await state_of(system_database, send.id) == "uncertain"


@pytest.mark.parametrize(("kind", "state"), [(LEASE_EXPIRED, "cancelled"), (FAILED, "failed")])
async def test_what_was_given_up_and_turns_out_unsent_is_not_leased_again(
    system_database: Database, inbox: SomeInbox, kind: Kind, state: str
) -> None:
    await make_sends(system_database, inbox, 1)
    send = await lease(system_database, inbox)
    await run_out(system_database)
    await execute(system_database, "UPDATE messages SET state = 'dead'")
    async with system_database.system() as session:
        assert await drop(session, [send.id]) == {send.id}

    await tell(system_database, send, kind)

    assert await state_of(system_database, send.id) == state
    assert await claim(system_database, {Line(inbox.vps_id, 1): 10}, 300) == []


# ------------------------------------------------------------ what is known to be unsent


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("ending", ["inbox removed", "inbox swept", "server removed", "suppressed"])
async def test_what_its_server_gave_back_unsent_never_ends_as_uncertain(
    system_database: Database, api_database: Database, inbox: SomeInbox, ending: str, *, is_late: bool
) -> None:
    await make_sends(system_database, inbox, 1)
    send = await lease(system_database, inbox)
    if is_late:
        await run_out(system_database)
    await tell(system_database, send, LEASE_EXPIRED)

    await end(system_database, api_database, inbox, ending)

    assert await state_of(system_database, send.id) == ("suppressed" if ending == "suppressed" else "cancelled")


@pytest.mark.parametrize("ending", ["inbox removed", "inbox swept", "server removed", "suppressed"])
async def test_what_failed_and_is_tried_again_is_known_to_be_unsent_until_its_server_falls_silent(
    system_database: Database, api_database: Database, inbox: SomeInbox, ending: str
) -> None:
    [failed] = await make_sends(system_database, inbox, 1)
    await tell(system_database, await lease(system_database, inbox), FAILED)
    async with system_database.system() as session:
        assert await retry(session, [failed]) == {failed}

    await end(system_database, api_database, inbox, ending)

    assert await state_of(system_database, failed) == ("suppressed" if ending == "suppressed" else "cancelled")


@pytest.mark.parametrize("ending", ["inbox removed", "inbox swept", "server removed", "suppressed"])
async def test_what_failed_was_tried_again_and_then_met_silence_is_uncertain(
    system_database: Database, api_database: Database, inbox: SomeInbox, ending: str
) -> None:
    [failed] = await make_sends(system_database, inbox, 1)
    await tell(system_database, await lease(system_database, inbox), FAILED)
    async with system_database.system() as session:
        await retry(session, [failed])
    await lease(system_database, inbox)
    await run_out(system_database)

    await end(system_database, api_database, inbox, ending)

    assert await state_of(system_database, failed) == "uncertain"


async def end(database: Database, api_database: Database, inbox: SomeInbox, ending: str) -> None:
    match ending:
        case "inbox removed":
            await remove_inbox(database, api_database, inbox)
        case "inbox swept":
            await execute(database, "UPDATE inboxes SET status = 'deleting'")
        case "server removed":
            await execute(database, "UPDATE vps_servers SET status = 'deleted'")
        case _:
            await suppress(database, inbox)
    await Sweep(database).look_at_all()


async def test_what_its_tenant_has_sent_again_is_not_retried(system_database: Database, inbox: SomeInbox) -> None:
    failed, again = await make_sends(system_database, inbox, 2)
    await execute(system_database, "UPDATE messages SET state = 'failed', final_at = now() WHERE id = :id", id=failed)
    await execute(system_database, "UPDATE messages SET resend_of = :old WHERE id = :id", old=failed, id=again)
    async with system_database.system() as session:
        assert await retry(session, [failed]) == set()


# ------------------------------------------------------------ what a journal may have forgotten


async def test_what_a_server_has_been_silent_about_for_days_is_not_leased_again_but_ends(
    system_database: Database, inbox: SomeInbox
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    await lease(system_database, inbox)
    await run_out(system_database)
    # Held back for days while its server's journal forgets; then, before any sweep, a claim.
    await pass_days(system_database, 6.1)

    assert await claim(system_database, {Line(inbox.vps_id, 1): 10}, 300) == []
    await Sweep(system_database).look_at_all()

    assert await state_of(system_database, send_id) == "uncertain"


async def test_the_silence_is_counted_from_the_first_lease_of_which_nothing_was_told(
    system_database: Database, inbox: SomeInbox
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    for _ in range(3):
        await lease(system_database, inbox)
        await run_out(system_database)
        await pass_days(system_database, 2.1)
    assert await claim(system_database, {Line(inbox.vps_id, 1): 10}, 300) == []
    await Sweep(system_database).look_at_all()
    assert await state_of(system_database, send_id) == "uncertain"


async def test_what_no_server_was_silent_about_waits_for_as_long_as_it_must(
    system_database: Database, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 1)
    await tell(system_database, await lease(system_database, inbox), LEASE_EXPIRED)
    await pass_days(system_database, 30)
    await Sweep(system_database).look_at_all()
    await lease(system_database, inbox)


async def test_a_dead_letter_that_its_server_may_have_forgotten_is_not_retried_and_ends(
    system_database: Database, inbox: SomeInbox
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    await lease(system_database, inbox)
    await run_out(system_database)
    await execute(system_database, "UPDATE messages SET state = 'dead', state_reason = 'no word'")
    await pass_days(system_database, 6.1)
    async with system_database.system() as session:
        assert await retry(session, [send_id]) == set()

    await Sweep(system_database).look_at_all()

    assert await state_of(system_database, send_id) == "uncertain"


@pytest.mark.parametrize(("status", "days"), [("deleted", 0.1), ("ready", 6.1)])
async def test_a_lease_ends_however_wrong_its_servers_clock_is(
    system_database: Database, inbox: SomeInbox, status: str, days: float
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    await lease(system_database, inbox)
    await execute(system_database, "UPDATE vps_servers SET clock_offset_ms = -31536000000, status = :s", s=status)
    await pass_days(system_database, days)
    assert await reclaim(system_database, TOLERANCE) == 1
    await Sweep(system_database).look_at_all()
    assert await state_of(system_database, send_id) == "uncertain"


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
async def test_nothing_that_a_server_has_had_stands_still_when_nobody_ever_speaks_again(
    system_database: Database, inbox: SomeInbox, state: State
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    send = await lease(system_database, inbox)
    if state is State.RELAYED:
        await tell(system_database, send, RELAYED)
    elif state is not State.QUEUED:
        await run_out(system_database)
        await execute(system_database, "UPDATE messages SET state = :state", state=state.value)
    assert await state_of(system_database, send_id) == state.value

    await pass_days(system_database, max(SILENCE, UNHEARD).total_seconds() / 86_400 + 0.1)
    await reclaim(system_database, TOLERANCE)
    await Sweep(system_database).look_at_all()

    assert await state_of(system_database, send_id) == "uncertain"
    async with system_database.system() as session:
        told = await session.scalars(text("SELECT detail ->> 'detail' FROM message_events WHERE kind = 'uncertain'"))
        assert all(told)
