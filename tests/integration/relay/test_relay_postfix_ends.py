"""Postfix's master ends, killed or in order, and lines of the log with it: nothing is sent twice or waits for long."""

import asyncio

import pytest

from agent.relay import settle, vanished
from tests.fakes.postfix import Cut, FakePostfix
from tests.integration.relay.life import PATIENCE, Kind, Server, make_envelope, message_id


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "_MARKER_TIMEOUT", 0.5)
    monkeypatch.setattr(vanished, "BETWEEN", 0.2)


def kill_master_once(server: Server, postfix: FakePostfix) -> None:
    """Lose what is logged from the end of the first message on, until a new master has started."""
    killed = False

    def kill(verb: str, argument: str) -> None:
        nonlocal killed
        if verb == "." and not killed:
            killed = True
            server.hide_log()
            asyncio.get_running_loop().call_later(0.1, start)

    def start() -> None:
        postfix.log = server.mail_log
        postfix.start_master()

    postfix.answer = kill


async def test_what_was_taken_while_the_master_ended_is_uncertain(server: Server, postfix: FakePostfix) -> None:
    cuts = iter([Cut.BEFORE_REPLY])
    postfix.cut = lambda: next(cuts, None)
    kill_master_once(server, postfix)
    envelope, later = make_envelope(), make_envelope(1)
    async with server.life():
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_UNCERTAIN, envelope)
        await server.enqueue(later)
        await server.until_told(Kind.KIND_DELIVERED, later)
    assert server.submissions() == {message_id(envelope): 1, message_id(later): 1}


async def test_what_was_taken_while_agent_and_master_ended_is_uncertain(server: Server, postfix: FakePostfix) -> None:
    postfix.cut = lambda: Cut.BEFORE_REPLY
    server.hide_log()
    envelope = make_envelope()
    await server.enqueue(envelope)
    async with server.life():
        await postfix.until_accepted(1)
    postfix.cut = lambda: None
    postfix.log = server.mail_log
    postfix.start_master()
    async with server.life():
        await server.until_told(Kind.KIND_UNCERTAIN, envelope)
    assert server.submissions() == {message_id(envelope): 1}


async def test_what_the_agent_never_wrote_goes_again_when_the_master_ended(
    server: Server, postfix: FakePostfix
) -> None:
    cuts = iter([Cut.DATA])
    postfix.cut = lambda: next(cuts, None)
    envelope = make_envelope()
    async with server.life() as life:

        def restart_once(verb: str, argument: str) -> None:
            if verb == "RCPT" and not life.journal.master_started.is_set():
                postfix.start_master()

        postfix.answer = restart_once
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    assert server.submissions() == {message_id(envelope): 1}


async def test_what_vanished_with_the_master_is_uncertain_soon_and_a_late_line_tells(
    server: Server, postfix: FakePostfix
) -> None:
    gone, queued = make_envelope(), make_envelope(1)
    postfix.delivers = False
    async with server.life() as life:
        await server.enqueue(gone, queued)
        await server.until_told(Kind.KIND_RELAYED, gone, queued)
        [taken] = [each for each in postfix.accepted if each.recipient == gone.recipient]
        server.queue = frozenset(each.queue_id for each in postfix.accepted) - {taken.queue_id}
        postfix.start_master()
        await server.until_told(Kind.KIND_UNCERTAIN, gone)
        [event] = [event for event in server.told if event.kind == Kind.KIND_UNCERTAIN]
        assert event.detail == vanished.VANISHED.detail
        assert server.kinds(queued) == ["relayed"]
        postfix.deliver(taken)
        await server.until_told(Kind.KIND_DELIVERED, gone)
        assert (await life.journal.counts()).in_postfix == 1


async def test_what_is_silent_is_looked_up_and_kept_while_postfix_cannot_say(
    server: Server, postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vanished, "EVERY", 0.1)
    monkeypatch.setattr(vanished, "SILENT_MS", 0)
    envelope = make_envelope()
    postfix.delivers = False
    server.queue = None
    async with server.life():
        await server.enqueue(envelope)
        async with asyncio.timeout(PATIENCE):
            while server.listings < 3:  # noqa: ASYNC110 - nobody announces a listing
                await asyncio.sleep(0.02)
        assert server.kinds(envelope) == ["relayed"]
        server.queue = frozenset()
        await server.until_told(Kind.KIND_UNCERTAIN, envelope)


async def test_one_look_that_misses_it_ends_nothing(
    server: Server, postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    envelope = make_envelope()
    postfix.delivers = False
    async with server.life():
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_RELAYED, envelope)
        postfix.start_master()
        async with asyncio.timeout(PATIENCE):
            while server.listings < 1:  # noqa: ASYNC110 - nobody announces a listing
                await asyncio.sleep(0.01)
            server.queue = frozenset({postfix.accepted[0].queue_id})
            while server.listings < 2:  # noqa: ASYNC110 - nobody announces a listing
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
    assert server.kinds(envelope) == ["relayed"]
