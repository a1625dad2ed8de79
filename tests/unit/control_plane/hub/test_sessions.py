import asyncio
import uuid

import pytest

from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Unavailable
from control_plane.hub.caller import Caller
from control_plane.hub.session import Session
from control_plane.hub.sessions import Sessions
from protos.agent.v1.link_pb2 import HubMessage, Welcome

VPS, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def session(vps_id: uuid.UUID = VPS) -> Session:
    return Session(uuid.uuid4(), Caller(AgentIdentity(uuid.UUID(int=9), vps_id), "0a"))


async def sent(live: Session) -> list[HubMessage]:
    messages = []
    while (message := await live.next_message()) is not None:
        messages.append(message)
    return messages


async def one(live: Session) -> HubMessage:
    message = await live.next_message()
    assert message is not None
    return message


async def test_what_waits_is_sent_before_the_end() -> None:
    live = session()
    await live.send(HubMessage(welcome=Welcome(hub_time_ms=1)))
    live.end()
    assert await sent(live) == [HubMessage(welcome=Welcome(hub_time_ms=1))]


async def test_a_second_session_of_a_server_ends_the_first_unless_that_one_answers() -> None:
    sessions = Sessions(answer_within=0.01)
    first, second, other = session(), session(), session(OTHER)
    with sessions.registered(first), sessions.registered(other), sessions.registered(second):
        for opened in (first, other, second):
            sessions.note_opened(opened)
        ping = (await one(first)).ping
        assert first.is_answer(ping.nonce)
        assert not first.is_answer(b"")
        assert not second.is_answer(b"")
        with pytest.raises(Unavailable, match="another link"):
            await first.next_message()
        sessions.look_again(str(VPS))
        assert (second.look_again.is_called, other.look_again.is_called) == (True, False)


async def test_a_link_that_was_opened_at_another_hub_has_the_one_here_asked_and_its_own_news_does_not() -> None:
    sessions = Sessions()
    first, other = session(), session(OTHER)
    with sessions.registered(first), sessions.registered(other):
        first.opened_at_us = 5
        sessions.opened(f"{VPS} 5")
        sessions.opened(f"{VPS} 4")
        sessions.opened(None)
        first.end()
        assert await sent(first) == []
        sessions.opened(f"{VPS} 6")
        other.end()
        assert (await one(first)).WhichOneof("body") == "ping"
        assert await sent(other) == []


async def test_a_link_that_is_being_opened_hears_hints_and_takes_its_own_opening_for_nobody_elses() -> None:
    sessions = Sessions()
    opening = session()
    with sessions.registered(opening):
        sessions.look_again(str(VPS))
        sessions.commands_waiting(str(VPS))
        sessions.opened(f"{VPS} 5")
        opening.opened_at_us = 5
        sessions.note_opened(opening)
        opening.end()
        assert await sent(opening) == []
    assert (opening.look_again.is_called, opening.commands_waiting.is_called) == (True, True)


async def test_of_two_sessions_the_older_one_is_asked_whichever_comes_to_be_known_first() -> None:
    sessions = Sessions()
    older, newer = session(), session()
    older.opened_at_us, newer.opened_at_us = 1, 2
    with sessions.registered(newer), sessions.registered(older):
        sessions.note_opened(newer)
        sessions.note_opened(older)
        newer.end()
        assert await sent(newer) == []
        assert (await one(older)).WhichOneof("body") == "ping"


async def test_all_sessions_look_again_after_hints_may_have_been_lost() -> None:
    sessions = Sessions()
    first, second = session(), session(OTHER)
    with sessions.registered(first), sessions.registered(second):
        sessions.look_again(None)
    assert first.look_again.is_called
    assert second.look_again.is_called


async def test_the_end_of_all_waits_for_those_that_were_replaced_too() -> None:
    sessions = Sessions()
    first, second = session(), session()
    with sessions.registered(first):
        with sessions.registered(second):
            sessions.end_all()
            ended = asyncio.create_task(sessions.all_ended())
        await asyncio.sleep(0)
        assert not ended.done()
    await ended


async def test_a_task_that_fails_ends_its_session_with_the_reason() -> None:
    live = session()

    async def fail() -> None:
        raise Unavailable("away")

    task = asyncio.create_task(fail())
    task.add_done_callback(live.watch)
    with pytest.raises(Unavailable, match="away"):
        await sent(live)


async def test_an_agent_that_does_not_read_holds_up_whoever_has_more_for_it() -> None:
    live = session()

    async def talk() -> None:
        while True:
            await live.send(HubMessage())

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(talk(), 0.05)
    live.end()
    assert len(await sent(live)) == 64


async def test_what_waits_is_written_in_order_and_the_reason_of_the_end_is_raised() -> None:
    live, written = session(), list[HubMessage]()

    async def write(message: HubMessage) -> None:
        written.append(message)

    messages = [HubMessage(welcome=Welcome(hub_time_ms=number)) for number in (1, 2)]
    for message in messages:
        await live.send(message)
    live.end(Unavailable("away"))
    with pytest.raises(Unavailable, match="away"):
        await live.pass_on(write)
    assert written == messages
