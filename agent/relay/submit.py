"""One SMTP session with our own Postfix: pipelined (RFC 2920), strict about replies.

`MAIL`, `RCPT` and `DATA` go in one write, and a message in one write with the next envelope. Nothing here judges: a
reply is a value, and a session that is over, for whatever reason, is `lost` and answers None.
"""

import asyncio
import logging
import re
from dataclasses import dataclass

#: Seconds for connecting and for the reply to a command.
REPLY_TIMEOUT = 30.0
#: Seconds for the reply to a message: Postfix flushes it to disk first, and may be busy.
MESSAGE_TIMEOUT = 120.0

_MOST_LINES = 100
_REPLY_LINE = re.compile(rb"([2-5]\d\d)([ -])(.*)\r\n", re.DOTALL)
_QUEUED_AS = re.compile(r"2\.0\.0 Ok: queued as ([0-9A-Za-z]+)")

_log = logging.getLogger(__name__)


class _Lost(Exception):
    """The session is over; the message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What Postfix said: the code, and the text of all lines joined."""

    code: int
    text: str

    @property
    def queue_id(self) -> str | None:
        """The queue id in the reply to a message that was accepted."""
        found = _QUEUED_AS.search(self.text)
        return found[1] if found else None


def envelope_commands(sender: str, recipient: str) -> bytes:
    """Return the commands that begin a message. The addresses must hold no control character or angle bracket."""
    return f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode("ascii")


def message_data(message: bytes) -> bytes:
    """Return `message`, which ends with CRLF, as it is transmitted: dot-stuffed and ended (RFC 5321 §4.5.2)."""
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


class SmtpSession:
    """An open session. Once it is lost it takes writes without effect and answers None."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        #: Our end, which tells this session from others in the kernel's list of connections.
        self.local_port: int = writer.get_extra_info("sockname")[1]
        self.lost = False

    @classmethod
    async def connect(cls, host: str, port: int) -> "SmtpSession | None":
        """Open a session and greet; None when Postfix is away or does not want one."""
        try:
            async with asyncio.timeout(REPLY_TIMEOUT):
                reader, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            _log.info("Postfix does not answer on %s:%d: %s", host, port, error)
            return None
        session = cls(reader, writer)
        try:
            await session._greet()
        except asyncio.CancelledError:
            session.close()
            raise
        return None if session.lost else session

    async def write(self, data: bytes) -> None:
        """Send `data`."""
        if self.lost:
            return
        self._writer.write(data)
        try:
            async with asyncio.timeout(MESSAGE_TIMEOUT):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            self._lose(f"it stopped reading: {error}")

    async def reply(self, seconds: float = REPLY_TIMEOUT) -> Reply | None:
        """Wait for the next reply; None when there will be none."""
        if self.lost:
            return None
        try:
            async with asyncio.timeout(seconds):
                return await self._read_reply()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, _Lost) as error:
            self._lose(str(error) or type(error).__name__)
            return None

    async def quit(self) -> None:
        """Take leave, without waiting for the answer."""
        await self.write(b"QUIT\r\n")
        self._writer.close()

    def close(self) -> None:
        """Cut the session."""
        self.lost = True
        self._writer.transport.abort()

    def _lose(self, why: str) -> None:
        _log.info("lost an SMTP session with Postfix: %s", why)
        self.close()

    async def _greet(self) -> None:
        greeting = await self.reply()
        if greeting is not None and greeting.code != 220:
            self._lose(f"it wants none: {greeting.code} {greeting.text}")
        await self.write(b"EHLO localhost\r\n")
        answer = await self.reply()
        if answer is not None and (answer.code != 250 or "PIPELINING" not in answer.text.split()):
            self._lose(f"it offers no pipelining: {answer.code} {answer.text}")

    async def _read_reply(self) -> Reply:
        code, texts = b"", []
        for _ in range(_MOST_LINES):
            line = _REPLY_LINE.fullmatch(await self._reader.readuntil(b"\r\n"))
            if line is None or (code and line[1] != code):
                raise _Lost("it spoke no SMTP")
            code = line[1]
            texts.append(line[3].decode("utf-8", "replace"))
            if line[2] == b" ":
                return Reply(int(code), " ".join(texts))
        raise _Lost("it sent a reply without end")
