"""One SMTP session with our own Postfix: pipelined (RFC 2920), strict about replies.

`MAIL`, `RCPT` and `DATA` go in one write, and a message in one write with the next envelope. Nothing here judges: a
reply is a value, and a session that is over, for whatever reason, is `lost` and answers None.

It is an `asyncio.Protocol`, with one timer for the whole session: streams, and a timeout around each reply, took as
much of the processor as all the rest of a submission but its signature.
"""

import asyncio
import logging
from collections import deque

from agent.relay.replies import NoSmtp, Reply, ReplyReader

#: Seconds for connecting and for the reply to a command.
REPLY_TIMEOUT = 30.0
#: Seconds for the reply to a message: Postfix flushes it to disk first, and may be busy.
MESSAGE_TIMEOUT = 120.0

_log = logging.getLogger(__name__)


def envelope_commands(sender: str, recipient: str) -> bytes:
    """Return the commands that begin a message. The addresses must hold no control character or angle bracket."""
    return f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode("ascii")


def message_data(message: bytes) -> bytes:
    """Return `message`, which ends with CRLF, as it is transmitted: dot-stuffed and ended (RFC 5321 §4.5.2)."""
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


class SmtpSession(asyncio.Protocol):
    """A session, used by one task at a time. Once it is lost it takes writes without effect and answers None."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        self._paused = False
        #: Why no more replies will come, once that is known; those that have come still count.
        self._over = ""
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        #: Our end, which tells this session from others in the kernel's list of connections.
        self.local_port = 0
        self.lost = False

    @classmethod
    async def connect(cls, host: str, port: int) -> "SmtpSession | None":
        """Open a session and greet; None when Postfix is away or does not want one."""
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                _, session = await asyncio.get_running_loop().create_connection(cls, host, port)
        except (OSError, TimeoutError) as error:
            _log.info("Postfix does not answer on %s:%d: %s", host, port, error)
            return None
        try:
            await session.greet()
        except asyncio.CancelledError:
            session.close()
            raise
        return None if session.lost else session

    @property
    def is_quiet(self) -> bool:
        """Whether Postfix has said nothing unasked: while a session rests, that would be good-bye."""
        return not (self.lost or self._over or self._replies)

    async def write(self, data: bytes) -> None:
        """Send `data`."""
        if self.lost or self._over or self._transport is None:
            return
        self._transport.write(data)
        while self._paused and not (self.lost or self._over):
            await self._wait(MESSAGE_TIMEOUT)

    async def reply(self, seconds: float = REPLY_TIMEOUT) -> Reply | None:
        """Wait for the next reply; None when there will be none."""
        while not self.lost:
            if self._replies:
                return self._replies.popleft()
            if self._over:
                self._lose(self._over)
            else:
                await self._wait(seconds)
        return None

    async def quit(self) -> None:
        """Take leave, without waiting for the answer."""
        await self.write(b"QUIT\r\n")
        if self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """Cut the session."""
        self.lost = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("SMTP needs a stream")
        self._transport = transport
        self.local_port = transport.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        """Collect replies."""
        if self._over:
            return
        try:
            self._replies += self._reader.feed(data)
        except NoSmtp as fault:
            self._over = str(fault)
        if self._replies or self._over:
            self._wake()

    def eof_received(self) -> bool:
        """Take note that no more replies will come."""
        self._end("it closed the session")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the session is over."""
        self._end(str(exc) if exc else "it closed the session")

    def pause_writing(self) -> None:
        """Take note that Postfix does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Take note that Postfix reads again."""
        self._paused = False
        self._wake()

    # ------------------------------------------------------------ within

    async def greet(self) -> None:
        """Read the greeting and ask for pipelining; `connect` does."""
        greeting = await self.reply()
        if greeting is not None and greeting.code != 220:
            self._lose(f"it greets with {greeting.code} {greeting.text}")
        await self.write(b"EHLO localhost\r\n")
        answer = await self.reply()
        if answer is not None and (answer.code != 250 or "PIPELINING" not in answer.text.split()):
            self._lose(f"it offers no pipelining: {answer.code} {answer.text}")

    async def _wait(self, seconds: float) -> None:
        """Wait until the loop has told something; the session is over when it does not within `seconds`."""
        self._waiter = self._loop.create_future()
        self._deadline = self._loop.time() + seconds
        self._set_alarm()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_alarm(self) -> None:
        """Have `_ring` called by the deadline; an alarm that rings too early sets itself again."""
        if self._alarm is not None:
            if self._alarm.when() <= self._deadline:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None:
            return
        if self._loop.time() >= self._deadline:
            self._end("it did not answer in time")
        else:
            self._set_alarm()

    def _end(self, why: str) -> None:
        self._over = self._over or why
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _lose(self, why: str) -> None:
        _log.info("the session with Postfix is over: %s", why)
        self.close()
