"""Takes sends from the hand through SMTP sessions into Postfix, and concludes each by the failure policy.

A send is marked as being submitted, and that is committed, before the first byte of its message is written. The next
send is made ready while Postfix answers, so that a session under load never waits for a disk.
"""

import asyncio
import time
from dataclasses import dataclass
from functools import partial

from agent.journal import Journal, NowMs, Refusal, SendState
from agent.relay.accepted import AcceptedSends
from agent.relay.delays import delay_after
from agent.relay.envelopes import refuse, terminated
from agent.relay.hand import Hand, Moment, Send
from agent.relay.hand_overs import HandOvers
from agent.relay.keyring import KeyRing
from agent.relay.outcome import Outcome, Stage, Verdict, judge, refusal
from agent.relay.patience import persist
from agent.relay.settle import Settler
from agent.relay.submit import MESSAGE_TIMEOUT, SmtpSession, envelope_commands, message_data

#: Seconds after which an idle session is closed, so that Postfix need not keep a process for it.
_IDLE = 60.0
#: The same for the last that is open, so that the next send finds it warm: a new one costs it some 20 ms. Less than
#: Postfix waits for a command (smtpd_timeout, 300 s; when it is short of processes it waits less, and may).
_IDLE_LAST = 240.0
#: Seconds that a send waits at most after Postfix has said no for now.
_LONGEST_REFUSAL = 60.0
#: After these the session is good for the next send.
_SESSION_GOES_ON = frozenset({Verdict.RELAYED, Verdict.SEND_LATER, Verdict.BOUNCED, Verdict.FAILED})
#: These say nothing about the send, and that something is wrong with Postfix.
_POSTFIX_FAILED = frozenset({Verdict.SESSION_LATER, Verdict.SETTLE})

LEASE_EXPIRED = Refusal(SendState.LEASE_EXPIRED, "The lease ran out before it could be submitted.")


@dataclass(frozen=True, slots=True)
class Job:
    """A send that is marked as being submitted, with what is to be written."""

    send: Send
    commands: bytes
    data: bytes


class Submitter:
    """Runs sessions with the Postfix at `host`:`port`, and what they leave behind in `tasks`."""

    def __init__(
        self,
        journal: Journal,
        hand: Hand,
        keys: KeyRing,
        settler: Settler,
        tasks: asyncio.TaskGroup,
        *,
        hand_overs: HandOvers,
        host: str,
        port: int,
        now_ms: NowMs,
    ) -> None:
        self._journal = journal
        self._hand = hand
        self._keys = keys
        self._settler = settler
        self._hand_overs = hand_overs
        self._accepted = AcceptedSends(journal, hand)
        self._tasks = tasks
        tasks.create_task(self._accepted.run())
        self._host = host
        self._port = port
        self._now_ms = now_ms
        #: Sessions that failed, of all that run, since Postfix last took a message.
        self._failures = 0
        self._open = 0

    async def run_session(self) -> None:
        """Serve the hand, over one session at a time, until cancelled."""
        while True:
            send = await self._hand.take()
            session = await SmtpSession.connect(self._host, self._port)
            if session is None:
                self._hand.offer(send, first=True)
                self._failures += 1
                self._hand_overs.fail(time.monotonic())
            else:
                await self._serve(session, send)
            if self._failures:
                await asyncio.sleep(delay_after(self._failures))

    async def _serve(self, session: SmtpSession, first: Send) -> None:
        """Submit until the session is lost, or idle for long."""
        send: Send | None = first
        self._open += 1
        try:
            while send is not None and not session.lost:
                job = await self._prepare(send)
                if job is not None:
                    await session.write(job.commands)
                while job is not None:
                    job = await self._submit(session, job)
                send = None if session.lost else await self._next_send()
                if send is not None and not session.is_quiet:
                    # Postfix closed it while it rested, as it may: that is no failure, and costs the send nothing.
                    self._hand.offer(send, first=True)
                    return
            await session.quit()
        finally:
            self._open -= 1
            session.close()

    async def _next_send(self) -> Send | None:
        if send := self._hand.take_if_waiting():
            return send
        try:
            async with asyncio.timeout(_IDLE):
                return await self._hand.take()
        except TimeoutError:
            pass
        if self._open > 1:
            return None
        try:
            async with asyncio.timeout(_IDLE_LAST - _IDLE):
                return await self._hand.take()
        except TimeoutError:
            return None

    async def _prepare_waiting(self) -> Job | None:
        while send := self._hand.take_if_waiting():
            if job := await self._prepare(send):
                return job
        return None

    async def _prepare(self, send: Send) -> Job | None:
        """Sign a send and mark it as being submitted; None when it has ended, or must not go."""
        envelope = send.envelope
        if unfit := refuse(envelope):
            await self._refuse(send, unfit)
            return None
        key = (await self._keys.current()).key_for(envelope.signing_domain)
        if self._overdue(send):
            await self._end(send, LEASE_EXPIRED)
            return None
        if key is None:
            fault = f"This server has no active signing key for {envelope.signing_domain}."
            await self._refuse(send, Refusal(SendState.FAILED, fault))
            return None
        message = terminated(envelope.message)
        data = message_data(key.sign(message, self._now_ms() // 1000) + message)
        if not await persist(partial(self._journal.begin_submission, envelope.send_id)):
            self._hand.release(send)
            return None
        return Job(send, envelope_commands(envelope.envelope_sender, envelope.recipient), data)

    async def _submit(self, session: SmtpSession, job: Job) -> Job | None:
        """Submit a send whose commands are written; return the next, when its commands are written too."""
        preparing = self._tasks.create_task(self._prepare_waiting())
        outcome = await _ask(session)
        following = await preparing
        if outcome.verdict is Verdict.GO_ON:
            outcome = await self._hand_over(session, job, following)
        elif following is not None and outcome.verdict in _SESSION_GOES_ON:
            await session.write(following.commands)
        self._note(session, outcome)
        self._conclude(job.send, outcome, session.local_port)
        if following is not None and session.lost:
            self._conclude(following.send, judge(Stage.SESSION, None), session.local_port)
            return None
        return following

    async def _hand_over(self, session: SmtpSession, job: Job, following: Job | None) -> Outcome:
        """Write the message; from its first byte on only Postfix knows."""
        if self._overdue(job.send):
            session.close()
            return Outcome(Stage.MESSAGE, Verdict.TOO_LATE)
        if session.lost:
            return judge(Stage.SESSION, None)
        await session.write(job.data + (following.commands if following else b""))
        return judge(Stage.MESSAGE, await session.reply(MESSAGE_TIMEOUT))

    def _note(self, session: SmtpSession, outcome: Outcome) -> None:
        if outcome.verdict is Verdict.RELAYED:
            self._failures = 0
            self._hand_overs.took()
        if outcome.verdict in _POSTFIX_FAILED:
            self._hand_overs.fail(time.monotonic())
        if outcome.verdict not in _SESSION_GOES_ON:
            session.close()
        if session.lost:
            self._failures += 1

    def _conclude(self, send: Send, outcome: Outcome, local_port: int) -> None:
        if outcome.verdict is Verdict.RELAYED and outcome.reply is not None and outcome.reply.queue_id is not None:
            self._accepted.add(send, outcome.reply.queue_id)
        else:
            self._tasks.create_task(self._conclude_other(send, outcome, local_port))

    async def _conclude_other(self, send: Send, outcome: Outcome, local_port: int) -> None:
        match outcome.verdict:
            case Verdict.BOUNCED | Verdict.FAILED:
                await self._refuse(send, refusal(outcome, send.envelope.recipient))
            case Verdict.TOO_LATE:
                await self._end(send, LEASE_EXPIRED)
            case Verdict.SESSION_LATER:
                await self._take_back(send, 0.0)
            case Verdict.SEND_LATER:
                send.refusals += 1
                self._hand_overs.put_off(send, time.monotonic())
                await self._take_back(send, min(_LONGEST_REFUSAL, 2.0**send.refusals))
            case _:
                await self._settler.settle([send], {local_port})

    async def _take_back(self, send: Send, seconds: float) -> None:
        if await persist(partial(self._journal.take_back, send.envelope.send_id)):
            await asyncio.sleep(seconds)
            self._hand.offer(send, first=True)
        else:
            self._hand.release(send)

    async def _refuse(self, send: Send, why: Refusal) -> None:
        self._hand_overs.refuse()
        await self._end(send, why)

    async def _end(self, send: Send, why: Refusal) -> None:
        await persist(partial(self._journal.end, send.envelope.send_id, why))
        self._hand.release(send)

    def _overdue(self, send: Send) -> bool:
        return send.is_overdue(Moment(self._now_ms(), self._journal.boot.now_ms()))


async def _ask(session: SmtpSession) -> Outcome:
    """Read the replies to the commands of one envelope; the first that is no yes counts."""
    outcomes = [judge(stage, await session.reply()) for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA)]
    refused = next((outcome for outcome in outcomes if outcome.verdict is not Verdict.GO_ON), None)
    if refused is None:
        return outcomes[-1]
    if outcomes[-1].verdict is Verdict.GO_ON:
        # It waits for a message all the same, and must not get one.
        session.close()
    return refused
