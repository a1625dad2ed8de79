import asyncio
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.relay.hand import LEAST_ROOM, MOST_OF_EACH, Hand, Moment, Send
from agent.relay.priorities import HIGH, LOW, NORMAL
from protos.queue.v1.envelope_pb2 import Envelope


def make_send(priority: int = NORMAL, deadline_ms: int = 1000) -> Send:
    return Send(Envelope(send_id=uuid.uuid4().bytes, lease_deadline_ms=deadline_ms), priority)


def put(hand: Hand, *sends: Send) -> None:
    for send in sends:
        hand.hold(send)
        hand.offer(send)


async def test_sends_go_in_their_order_and_high_before_low() -> None:
    hand = Hand()
    low, first, second = make_send(LOW), make_send(HIGH), make_send(HIGH)
    put(hand, low, first, second)
    assert [await hand.take() for _ in range(3)] == [first, second, low]
    assert hand.take_if_waiting() is None


async def test_the_session_that_was_busy_last_goes_first() -> None:
    hand = Hand()
    cold = asyncio.ensure_future(hand.take())
    await asyncio.sleep(0)
    warm = asyncio.ensure_future(hand.take())
    await asyncio.sleep(0)
    put(hand, send := make_send())
    assert await warm is send
    assert not cold.done()
    cold.cancel()


async def test_a_session_that_goes_away_with_a_send_gives_it_to_the_next() -> None:
    hand = Hand()
    going = asyncio.ensure_future(hand.take())
    await asyncio.sleep(0)
    put(hand, send := make_send())
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert await hand.take() is send


async def test_a_session_that_goes_away_waiting_is_forgotten() -> None:
    hand = Hand()
    going = asyncio.ensure_future(hand.take())
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    put(hand, send := make_send())
    assert hand.take_if_waiting() is send


async def test_each_priority_has_room_of_its_own() -> None:
    hand = Hand()
    sends = [make_send(LOW) for _ in range(MOST_OF_EACH)]
    put(hand, *sends)
    assert await hand.room(HIGH) == MOST_OF_EACH
    waiting = asyncio.ensure_future(hand.room(LOW))
    await asyncio.sleep(0)
    assert not waiting.done()
    await hand.take()
    await asyncio.sleep(0)
    assert not waiting.done()
    for send in sends[1:LEAST_ROOM]:
        hand.release(send)
    await asyncio.sleep(0)
    assert not waiting.done()
    hand.release(sends[0])
    assert await waiting == LEAST_ROOM


async def test_a_new_lease_reaches_a_send_wherever_it_is() -> None:
    hand = Hand()
    put(hand, send := make_send())
    hand.renew(again := Envelope(send_id=send.envelope.send_id, lease_deadline_ms=2000), None)
    assert send.envelope is again
    hand.renew(Envelope(send_id=b"unknown"), None)


def test_what_is_overdue_no_longer_waits() -> None:
    hand = Hand()
    late, fine = make_send(deadline_ms=10), make_send(deadline_ms=20)
    put(hand, late, fine)
    assert hand.take_overdue(Moment(10, 0)) == [late]
    assert hand.take_if_waiting() is fine


async def test_a_send_that_was_taken_anew_is_not_released_by_its_old_life() -> None:
    hand = Hand()
    old = make_send()
    put(hand, old)
    await hand.take()
    new = Send(old.envelope, old.priority)
    put(hand, new)
    hand.release(old)
    hand.renew(again := Envelope(send_id=old.envelope.send_id), None)
    assert new.envelope is again
    assert await hand.room(NORMAL) == MOST_OF_EACH - 1


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.integers(0, 2**41), st.integers(0, 2**41))
def test_a_lease_ends_by_whichever_clock_is_there_first(wall: int, boot: int, wall_now: int, boot_now: int) -> None:
    send = Send(Envelope(lease_deadline_ms=wall), NORMAL, boot)
    assert send.is_overdue(Moment(wall_now, boot_now)) == (wall_now >= wall or boot_now >= boot)


async def test_a_session_that_gives_up_waiting_as_a_send_comes_gets_none() -> None:
    hand = Hand()
    patient, tired = asyncio.ensure_future(hand.take()), asyncio.ensure_future(hand.take())
    await asyncio.sleep(0)
    tired.cancel()
    put(hand, send := make_send())
    assert await patient is send
    assert tired.cancelled()
    assert hand.take_if_waiting() is None
