"""The relay's whole path, from Redis over TLS to a Postfix that behaves and back to what the control plane is told."""

import asyncio
import time

import dkim
import pytest

from agent.relay import sessions
from control_plane.queuer import keys
from control_plane.queuer.streams import make_groups
from protos.queue.v1.envelope_pb2 import Envelope
from tests.fakes.postfix import Cut, FakePostfix
from tests.integration.relay.life import DKIM_RECORD, Kind, Server, leased_again, make_envelope, message_id


async def test_a_send_goes_from_the_queue_through_postfix_to_delivered(server: Server) -> None:
    envelope = make_envelope()
    async with server.life() as life:
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
        counts = await life.journal.counts()
        assert life.relay.redis_connected
    assert server.kinds(envelope) == ["relayed", "delivered"]
    relayed, delivered = server.told
    assert relayed.queue_id == delivered.queue_id == server.postfix.accepted[0].queue_id
    assert delivered.reply.enhanced_status == "2.0.0"
    assert delivered.reply.relay == "mx.example.org[192.0.2.1]:25"
    assert (counts.in_hand, counts.in_postfix) == (0, 0)
    assert await server.left_in_queue() == 0


async def test_postfix_gets_the_message_unaltered_under_a_signature(server: Server) -> None:
    envelope = make_envelope()
    async with server.life():
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    accepted = server.postfix.accepted[0]
    assert (accepted.sender, accepted.recipient) == (envelope.envelope_sender, envelope.recipient)
    assert accepted.message.endswith(envelope.message)
    assert dkim.verify(accepted.message, dnsfunc=lambda name, timeout=5: DKIM_RECORD)


async def test_many_sends_each_go_once_over_few_sessions(server: Server) -> None:
    envelopes = [make_envelope(number) for number in range(150)]
    async with server.life():
        await server.enqueue(*envelopes)
        await server.until_told(Kind.KIND_DELIVERED, *envelopes)
    assert server.submissions() == {message_id(envelope): 1 for envelope in envelopes}
    assert server.postfix.sessions <= 10
    assert await server.left_in_queue() == 0


async def test_a_duplicate_envelope_is_taken_once(server: Server) -> None:
    envelope, later = make_envelope(), make_envelope(1)
    async with server.life():
        await server.enqueue(envelope, envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
        await server.enqueue(envelope, later)
        await server.until_told(Kind.KIND_DELIVERED, later)
    assert set(server.submissions().values()) == {1}
    assert server.kinds(envelope) == ["relayed", "delivered"]
    assert await server.left_in_queue() == 0


async def test_a_new_lease_for_a_send_that_is_done_repeats_its_outcome(server: Server) -> None:
    envelope = make_envelope()
    again = leased_again(envelope)
    async with server.life():
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
        await server.enqueue(again)
        await server.until(lambda: server.kinds(again) == ["relayed", "delivered"])
    assert len(server.postfix.accepted) == 1
    assert len({event.event_id for event in server.told}) == 4


async def test_a_malformed_entry_is_set_aside_and_nothing_else_disturbed(server: Server) -> None:
    envelope = make_envelope()
    stream = keys.stream(server.vps_id, 1)
    async with server.life() as life:
        await server.redis.xadd(stream, {"e": b"\xff\xff"})
        await server.redis.xadd(stream, {"other": b"x"})
        await server.redis.xadd(stream, {"e": Envelope(send_id=b"short").SerializeToString()})
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
        assert (await life.journal.counts()).malformed_envelopes == 3
    assert await server.left_in_queue() == 0


async def test_an_envelope_that_smtp_cannot_carry_fails_and_says_so(server: Server) -> None:
    injected = make_envelope(1)
    injected.recipient = "x@example.org>\r\nRCPT TO:<eve@example.org"
    foreign = make_envelope(2)
    foreign.message = foreign.message.replace(b"Message-ID: <", b"Message-ID: <x")
    unsigned = make_envelope(3)
    unsigned.signing_domain = "other.test"
    async with server.life():
        await server.enqueue(injected, foreign, unsigned)
        await server.until_told(Kind.KIND_FAILED, injected, foreign, unsigned)
    assert server.postfix.accepted == []
    details = {event.send_id: event.detail for event in server.told}
    assert "recipient" in details[injected.send_id]
    assert "Message-ID" in details[foreign.send_id]
    assert details[unsigned.send_id] == "This server has no active signing key for other.test."


async def test_nothing_is_submitted_after_the_deadline(server: Server) -> None:
    late, fine = make_envelope(lease_seconds=-1), make_envelope(1)
    async with server.life():
        await server.enqueue(late, fine)
        await server.until_told(Kind.KIND_DELIVERED, fine)
        await server.until_told(Kind.KIND_LEASE_EXPIRED, late)
    assert server.kinds(late) == ["lease_expired"]
    assert list(server.submissions()) == [message_id(fine)]


async def test_a_lease_that_runs_out_while_postfix_is_away_is_told(server: Server, postfix: FakePostfix) -> None:
    envelope = make_envelope(lease_seconds=0.5)
    postfix.cut = lambda: Cut.CONNECT
    async with server.life():
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_LEASE_EXPIRED, envelope)
        postfix.cut = lambda: None
        again = leased_again(envelope)
        await server.enqueue(again)
        await server.until_told(Kind.KIND_DELIVERED, again)
    assert server.kinds(again) == ["relayed", "delivered"]
    assert len(postfix.accepted) == 1


async def test_a_new_lease_reaches_a_send_that_waits(server: Server, postfix: FakePostfix) -> None:
    envelope = make_envelope(lease_seconds=1.0)
    again = leased_again(envelope)
    postfix.cut = lambda: Cut.CONNECT
    async with server.life():
        await server.enqueue(envelope, again)
        await asyncio.sleep(1.5)
        postfix.cut = lambda: None
        await server.until_told(Kind.KIND_DELIVERED, again)
    assert server.kinds(envelope) == []
    assert server.kinds(again) == ["relayed", "delivered"]


async def test_high_priority_overtakes_and_low_is_not_starved(server: Server, postfix: FakePostfix) -> None:
    postfix.cut = lambda: Cut.CONNECT
    by_priority = [[make_envelope(number) for number in range(60)] for _ in range(3)]
    async with server.life() as life:
        for priority in (2, 1, 0):
            await server.enqueue(*by_priority[priority], priority=priority)
        await life.until_in_hand(180)
        postfix.cut = lambda: None
        for envelopes in by_priority:
            await server.until_told(Kind.KIND_DELIVERED, *envelopes)
    order = postfix.sends()
    high, low = ({message_id(envelope) for envelope in by_priority[priority]} for priority in (0, 2))
    first = order[:60]
    assert sum(each in high for each in first) >= 30
    assert sum(each in low for each in first) >= 5


async def test_flushall_in_between_loses_and_repeats_nothing(server: Server) -> None:
    envelopes = [make_envelope(number) for number in range(40)]
    async with server.life():
        await server.enqueue(*envelopes[:20])
        await server.redis.flushall()
        await asyncio.sleep(0.2)
        # What the queuer does: the groups again, and every leased envelope again.
        await make_groups(server.redis, server.vps_id)
        await server.enqueue(*envelopes)
        await server.until_told(Kind.KIND_DELIVERED, *envelopes)
    assert server.submissions() == {message_id(envelope): 1 for envelope in envelopes}


async def test_refused_credentials_are_asked_for_again(server: Server) -> None:
    envelope = make_envelope()
    async with server.life():
        await server.enqueue(make_envelope())
        await server.redis.acl_deluser(f"vps-{server.vps_id}")
        await server.until(lambda: server.access_requests > 0)
        await server.grant()
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    assert set(server.submissions().values()) == {1}


async def test_new_credentials_are_taken_up_without_losing_a_send(server: Server) -> None:
    envelopes = [make_envelope(number) for number in range(30)]
    async with server.life():
        for envelope in envelopes:
            await server.enqueue(envelope)
            if envelope is envelopes[10]:
                await server.grant()
        await server.until_told(Kind.KIND_DELIVERED, *envelopes)
    assert server.submissions() == {message_id(envelope): 1 for envelope in envelopes}


async def test_a_delivery_is_known_soon(server: Server) -> None:
    async with server.life():
        await server.enqueue(warm := make_envelope())
        await server.until_told(Kind.KIND_DELIVERED, warm)
        took = []
        for number in range(5):
            envelope = make_envelope(number)
            began = time.monotonic()
            await server.enqueue(envelope)
            await server.until_told(Kind.KIND_DELIVERED, envelope)
            took.append(time.monotonic() - began)
    # A look at the log each 50 ms; the rest is for a busy machine.
    assert sorted(took)[2] < 0.3


async def test_the_last_session_stays_warm_and_one_that_postfix_closed_costs_nothing(
    server: Server, postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_IDLE", 0.05)
    first, second, third = (make_envelope(number) for number in range(3))
    async with server.life():
        await server.enqueue(first)
        await server.until_told(Kind.KIND_DELIVERED, first)
        await asyncio.sleep(0.2)
        await server.enqueue(second)
        await server.until_told(Kind.KIND_DELIVERED, second)
        assert postfix.sessions == 1
        postfix.time_out_sessions()
        await asyncio.sleep(0.1)
        await server.enqueue(third)
        await server.until_told(Kind.KIND_DELIVERED, third)
    assert postfix.sessions == 2
    assert server.submissions() == {message_id(envelope): 1 for envelope in (first, second, third)}
