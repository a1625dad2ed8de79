"""Settles cut submissions: those of which it is not known whether Postfix took the message.

Three things come first, and in this order. The SMTP session is over: until then Postfix may still read the message from
the kernel's buffer, and nothing it has logged proves anything. Postfix is there. And the log has been read beyond the
end of the session, which a marker proves: an address that is none, named in a command, is logged by Postfix with the
command; log lines keep their order, so all that the session logged lies before it.

Then the journal tells: Postfix logs the Message-ID before it answers for a message, so a send whose id the log does
not have was not taken and is in hand again. A send that Postfix began and did not finish by the log is given a while,
since the queue manager logs acceptance on its own. What is still open then may wait for the queue manager, whose active
queue can be full for long: a message that Postfix lists in its queue is one that it took. What it does not list is
uncertain, and not sent again.

Why a message that Postfix began, and neither lists nor tells of, cannot be settled, even when Postfix has been started
anew and its log has no gap. Its master was killed; the log writer is one of its children and ends with it, while others
finish what they are at, and what they log then is lost. Such a message was either given up by cleanup, which removes
the file when it is told to end, or taken and delivered in those moments: both leave no file and no line. A file that
cleanup had not finished (not executable, postsuper(1)) would prove the former; systemd's SIGTERM to the rest removes
that too, and only root could look.

For the same reason a message can be taken without any line and without a reply. So the start of a master, which the log
shows before the marker, is a hole in the log for all that was being submitted then (`agent/journal/hearing.py`), and so
is a power cut (`agent/journal/settling.py`): silence proves nothing there, and such a send is uncertain. What never got
as far as its message's first byte does not come here.

BUGS: a log writer that is killed alone loses the line that it had read and not yet written.
"""

import asyncio
import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

from agent.journal import Journal, Refusal, SendState, Settled
from agent.relay.connections import clients_of
from agent.relay.delays import delay_after
from agent.relay.hand import Hand, Send
from agent.relay.patience import persist
from agent.relay.submit import SmtpSession
from log_lines.lines import about

#: What agent/maillog looks for; the two must agree.
MARKER = "penguin-marker"
#: Seconds for the log to show the marker, and how often that is tried.
_MARKER_TIMEOUT = 10.0
_MARKER_TRIES = 6
#: Seconds for the queue manager to log what it has.
_GRACE = 30
_LOOK = 0.1
#: How often Postfix is asked for its queue, should it not answer, and the seconds in between.
_LISTINGS = 10
_LISTING_PAUSE = 1.0
_LOG_SILENT = "The mail log does not show whether Postfix took it."
_LEFT_OPEN = "Postfix began it, and neither its queue nor the mail log says whether it took it."
_HOLE = "The part of the mail log that would say whether Postfix took it is missing."

#: Returns which of these queue ids Postfix has in its queue; None when it cannot say.
QueuedAmong = Callable[[Collection[str]], Awaitable[frozenset[str] | None]]

_log = logging.getLogger(__name__)


class Settler:
    """Settles sends of `hand` against the Postfix at `host`:`port`."""

    def __init__(self, journal: Journal, hand: Hand, host: str, port: int, queued_among: QueuedAmong) -> None:
        self._journal = journal
        self._hand = hand
        self._host = host
        self._port = port
        self._queued_among = queued_among

    async def settle(self, sends: Sequence[Send], client_ports: Collection[int]) -> None:
        """Settle sends that were submitted over sessions from these local ports."""
        _log.info("settling %d sends whose submission was cut", len(sends))
        await self._sessions_over(client_ports)
        if not await self.log_is_read():
            await self._give_up(sends, _LOG_SILENT)
            return
        for _ in range(_GRACE):
            sends = await self._ask(sends)
            if not sends:
                return
            await asyncio.sleep(1)
        await self._give_up(await self._look_in_queue(sends), _LEFT_OPEN)

    async def _sessions_over(self, client_ports: Collection[int]) -> None:
        while clients_of(self._port).intersection(client_ports):  # noqa: ASYNC110 - the kernel does not tell
            await asyncio.sleep(_LOOK)

    async def log_is_read(self) -> bool:
        """Wait until the log has been read up to a moment after this call; False when it never shows."""
        token = secrets.token_hex(16)
        seen = self._journal.expect_marker(token)
        try:
            for _ in range(_MARKER_TRIES):
                await self._mark(token)
                try:
                    async with asyncio.timeout(_MARKER_TIMEOUT):
                        await seen.wait()
                except TimeoutError:
                    _log.warning("the mail log does not show the marker that Postfix was given")
                else:
                    return True
        finally:
            self._journal.forget_marker(token)
        return False

    async def _mark(self, token: str) -> None:
        """Have Postfix log the marker; waits for Postfix."""
        failures = 0
        while not await self._try_to_mark(token):
            failures += 1
            await asyncio.sleep(delay_after(failures))

    async def _try_to_mark(self, token: str) -> bool:
        session = await SmtpSession.connect(self._host, self._port)
        if session is None:
            return False
        try:
            await session.write(f"MAIL FROM:<{MARKER} {token}>\r\n".encode("ascii"))
            answered = await session.reply() is not None
            await session.quit()
        finally:
            session.close()
        return answered

    async def _ask(self, sends: Sequence[Send]) -> list[Send]:
        """Act on what the journal knows now; return what is still open."""
        ids = [send.envelope.send_id for send in sends]
        answers = await persist(partial(self._journal.settle, ids))
        open_still = []
        for send, answer in zip(sends, answers, strict=True):
            match answer:
                case Settled.NOT_TAKEN:
                    self._hand.offer(send)
                case Settled.KNOWN:
                    self._hand.release(send)
                case Settled.OPEN:
                    open_still.append(send)
                case Settled.UNKNOWABLE:
                    await self._give_up([send], _HOLE)
        return open_still

    async def _look_in_queue(self, sends: Sequence[Send]) -> list[Send]:
        """Take note of what Postfix has in its queue; return what it does not have there."""
        begun = await persist(partial(self._journal.begun_as, [send.envelope.send_id for send in sends]))
        queued = await self._queued(frozenset(begun.values()))
        left = []
        for send in sends:
            queue_id = begun.get(send.envelope.send_id, "")
            if queue_id in queued:
                await persist(partial(self._journal.relayed, send.envelope.send_id, queue_id))
                self._hand.release(send)
            else:
                left.append(send)
        # The log may have told of these meanwhile.
        return await self._ask(left)

    async def _queued(self, queue_ids: frozenset[str]) -> frozenset[str]:
        for _ in range(_LISTINGS):
            if (queued := await self._queued_among(queue_ids)) is not None:
                return queued
            await asyncio.sleep(_LISTING_PAUSE)
        _log.warning("Postfix does not list its queue")
        return frozenset()

    async def _give_up(self, sends: Sequence[Send], why: str) -> None:
        for send in sends:
            with about(send_id=uuid.UUID(bytes=send.envelope.send_id)):
                _log.error("a send is uncertain: %s", why)
            uncertain = Refusal(SendState.UNCERTAIN, why)
            await persist(partial(self._journal.end, send.envelope.send_id, uncertain))
            self._hand.release(send)
