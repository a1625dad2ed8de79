"""Kills and cuts between each pair of steps: whatever happens, Postfix accepts each send once and all is told."""

import asyncio

import pytest

from agent.relay import settle
from tests.fakes.postfix import Cut, FakePostfix
from tests.integration.relay.life import PATIENCE, Kind, Server, leased_again, make_envelope, message_id

#: Commits from the take to the last confirmation of a few sends; later ones find everything done.
COMMITS = 14


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("commit", range(COMMITS))
async def test_a_kill_at_any_commit_loses_and_repeats_nothing(server: Server, commit: int, after: bool) -> None:
    envelopes = [make_envelope(number) for number in range(3)]
    await server.enqueue(*envelopes)
    async with server.life(dies_at=commit, after=after) as life:
        done = asyncio.ensure_future(server.until_told(Kind.KIND_DELIVERED, *envelopes))
        died = asyncio.ensure_future(life.died.wait())
        await asyncio.wait({done, died}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        died.cancel()
    async with server.life() as life:
        await server.until_told(Kind.KIND_DELIVERED, *envelopes)
        counts = await life.journal.counts()
    assert server.submissions() == {message_id(envelope): 1 for envelope in envelopes}
    assert all(sorted(server.kinds(envelope)) == ["delivered", "relayed"] for envelope in envelopes)
    assert (counts.in_hand, counts.in_postfix) == (0, 0)
    assert await server.left_in_queue() == 0


@pytest.mark.parametrize("cut", list(Cut), ids=lambda cut: cut.value)
async def test_a_session_cut_at_any_stage_loses_and_repeats_nothing(
    server: Server, postfix: FakePostfix, cut: Cut
) -> None:
    cuts = iter([cut, cut])
    postfix.cut = lambda: next(cuts, None)
    envelopes = [make_envelope(number) for number in range(5)]
    async with server.life():
        await server.enqueue(*envelopes)
        await server.until_told(Kind.KIND_DELIVERED, *envelopes)
    assert server.submissions() == {message_id(envelope): 1 for envelope in envelopes}
    assert all(server.kinds(envelope) == ["relayed", "delivered"] for envelope in envelopes)


async def test_a_message_that_postfix_reads_only_after_the_crash_is_not_sent_again(
    server: Server, postfix: FakePostfix
) -> None:
    envelope = make_envelope()
    # The message is in the kernel's buffers when the agent dies, and the process that is to read it is paused.
    paused: asyncio.Future[asyncio.Event] = asyncio.get_running_loop().create_future()

    def pause_once(verb: str, argument: str) -> None:
        if verb == "DATA" and not paused.done():
            paused.set_result(postfix.hold_sessions())

    postfix.answer = pause_once
    await server.enqueue(envelope)
    async with server.life() as life:
        resume = await asyncio.wait_for(paused, PATIENCE)
        # Long enough for the message to be written.
        await asyncio.sleep(0.2)
        assert (await life.journal.counts()).in_hand == 1
    async with server.life() as life:
        await asyncio.sleep(0.5)
        assert (await life.journal.counts()).in_hand == 1
        resume.set()
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    assert server.submissions() == {message_id(envelope): 1}
    assert server.kinds(envelope) == ["relayed", "delivered"]


async def test_recovery_waits_for_the_log_before_it_decides(server: Server, postfix: FakePostfix) -> None:
    envelope = make_envelope()
    postfix.cut = lambda: Cut.BEFORE_REPLY
    hidden = server.hide_log()
    await server.enqueue(envelope)
    async with server.life():
        await postfix.until_accepted(1)
    postfix.cut = lambda: None
    async with server.life() as life:
        await asyncio.sleep(0.5)
        assert (await life.journal.counts()).in_hand == 1
        hidden.rename(server.mail_log)
        postfix.log = server.mail_log
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    assert server.submissions() == {message_id(envelope): 1}


async def test_a_send_that_postfix_began_and_no_log_line_settles_is_uncertain(
    server: Server, postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "_GRACE", 1)
    envelope = make_envelope()
    again = leased_again(envelope)
    postfix.cut = lambda: Cut.BEFORE_REPLY
    postfix.delivers = False
    async with server.life():
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_UNCERTAIN, envelope)
        await server.enqueue(again)
        await server.until(lambda: server.kinds(again) == ["uncertain"])
        # The log may still come to say it.
        postfix.deliver(postfix.accepted[0])
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    assert len(postfix.accepted) == 1
    assert server.kinds(again) == ["uncertain", "relayed", "delivered"]


async def test_a_send_that_waits_for_the_queue_manager_is_relayed_and_not_uncertain(
    server: Server, postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "_GRACE", 1)
    monkeypatch.setattr(settle, "_LISTING_PAUSE", 0.05)
    envelope = make_envelope()
    postfix.cut = lambda: Cut.BEFORE_REPLY
    postfix.delivers = False
    server.queue = None
    async with server.life():
        await server.enqueue(envelope)
        async with asyncio.timeout(PATIENCE):
            while server.listings < 2:  # noqa: ASYNC110 - nobody announces a listing
                await asyncio.sleep(0.02)
        server.queue = frozenset({postfix.accepted[0].queue_id})
        await server.until_told(Kind.KIND_RELAYED, envelope)
        postfix.deliver(postfix.accepted[0])
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    assert server.kinds(envelope) == ["relayed", "delivered"]
    assert len(postfix.accepted) == 1


async def test_what_a_hole_in_the_log_hides_is_uncertain(server: Server, postfix: FakePostfix) -> None:
    earlier, envelope = make_envelope(), make_envelope(1)
    async with server.life():
        await server.enqueue(earlier)
        await server.until_told(Kind.KIND_DELIVERED, earlier)
    postfix.cut = lambda: Cut.BEFORE_REPLY
    server.hide_log()
    await server.enqueue(envelope)
    async with server.life():
        await postfix.until_accepted(2)
    postfix.cut = lambda: None
    server.mail_log.unlink()
    postfix.log = server.mail_log
    postfix.write_log("master", 1, "daemon started")
    async with server.life():
        await server.until_told(Kind.KIND_UNCERTAIN, envelope)
    assert server.submissions()[message_id(envelope)] == 1


async def test_a_temporary_refusal_is_tried_again_and_holds_nothing_up(server: Server, postfix: FakePostfix) -> None:
    slow, fine = make_envelope(1), make_envelope(2)
    refusals = iter(["451 4.3.0 Error: queue file write error"])
    postfix.answer = lambda verb, argument: next(refusals, None) if (verb, argument) == (".", slow.recipient) else None
    async with server.life() as life:
        await server.enqueue(slow, fine)
        await server.until_told(Kind.KIND_DELIVERED, fine)
        assert server.kinds(slow) == []
        await server.until_told(Kind.KIND_DELIVERED, slow)
        # That it was refused for a moment is no news.
        assert (life.relay.hand_overs.taken, life.relay.hand_overs.refused) == (2, 0)
    assert server.submissions() == {message_id(slow): 1, message_id(fine): 1}


@pytest.mark.parametrize("failing", [Cut.CONNECT, Cut.MAIL, "451 4.3.0 Error: queue file write error"])
async def test_a_postfix_that_takes_nothing_for_long_counts_as_one_that_refuses(
    server: Server, postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch, failing: Cut | str
) -> None:
    monkeypatch.setattr("agent.relay.hand_overs.PATIENCE", 0.2)
    monkeypatch.setattr("agent.relay.sessions._LONGEST_REFUSAL", 0.15)
    envelope = make_envelope()
    async with server.life() as life:

        def cut() -> Cut | None:
            return failing if isinstance(failing, Cut) and not life.relay.hand_overs.refused else None

        def answer(verb: str, argument: str) -> str | None:
            wanted = isinstance(failing, str) and verb == "." and not life.relay.hand_overs.refused
            return str(failing) if wanted else None

        postfix.cut, postfix.answer = cut, answer
        await server.enqueue(envelope)
        await server.until_told(Kind.KIND_DELIVERED, envelope)
        assert (life.relay.hand_overs.taken, life.relay.hand_overs.refused) == (1, 1)


async def test_a_refused_recipient_bounces_and_a_refused_message_fails(server: Server, postfix: FakePostfix) -> None:
    nobody, too_large, fine = make_envelope(1), make_envelope(2), make_envelope(3)
    answers = {
        ("RCPT", f"RCPT TO:<{nobody.recipient}>"): "550 5.1.1 <x>: Recipient address rejected: User unknown",
        (".", too_large.recipient): "552 5.3.4 Error: message file too big",
    }
    postfix.answer = lambda verb, argument: answers.get((verb, argument))
    async with server.life() as life:
        await server.enqueue(nobody, too_large, fine)
        await server.until_told(Kind.KIND_DELIVERED, fine)
        await server.until_told(Kind.KIND_BOUNCED, nobody)
        await server.until_told(Kind.KIND_FAILED, too_large)
        assert (life.relay.hand_overs.taken, life.relay.hand_overs.refused) == (1, 2)
    bounced = next(event for event in server.told if event.send_id == nobody.send_id)
    assert (bounced.reply.enhanced_status, bounced.reply.recipient) == ("5.1.1", nobody.recipient)
    assert bounced.reply.text == "550 5.1.1 <x>: Recipient address rejected: User unknown"
    assert server.submissions() == {message_id(fine): 1}


async def test_postfix_going_down_under_load_loses_and_repeats_nothing(server: Server, postfix: FakePostfix) -> None:
    count = iter(range(1000))
    postfix.answer = lambda verb, argument: "421 4.3.2 closing" if verb == "MAIL" and next(count) % 7 == 3 else None
    envelopes = [make_envelope(number) for number in range(60)]
    async with server.life():
        await server.enqueue(*envelopes)
        await server.until_told(Kind.KIND_DELIVERED, *envelopes)
    assert server.submissions() == {message_id(envelope): 1 for envelope in envelopes}


@pytest.mark.parametrize(
    ("status", "told"), [("bounced", ["relayed", "bounced"]), ("deferred", ["relayed", "deferred"])]
)
async def test_what_the_remote_side_refuses_is_told(
    server: Server, postfix: FakePostfix, status: str, told: list[str]
) -> None:
    envelope = make_envelope()
    postfix.outcome = lambda accepted: (status, "host mx said: 550 5.1.1 no such user")
    async with server.life() as life:
        await server.enqueue(envelope)
        await server.until(lambda: server.kinds(envelope) == told)
        assert (await life.journal.counts()).in_postfix == (status == "deferred")
