"""A Postfix that behaves: SMTP with pipelining on loopback, a queue, and a log in Postfix's words and order.

It can be told what to answer, where to cut a session, and how long to be silent; it keeps what it accepted. As with the
real one, cleanup's Message-ID line comes before the reply for a message that is accepted, and after the end of the
session for one whose client went away; "queue active" comes after the reply.
"""

import asyncio
import contextlib
import itertools
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_COMMAND = re.compile(r"(MAIL FROM|RCPT TO):<(.*)>$", re.IGNORECASE)
_MESSAGE_ID = re.compile(rb"^message-id: *(\S+)", re.IGNORECASE | re.MULTILINE)


class Cut(Enum):
    """Where the server side of a session breaks off."""

    CONNECT = "connect"
    MAIL = "mail"
    DATA = "data"
    #: After half of the message.
    MID_MESSAGE = "mid message"
    #: After accepting the message, before the reply.
    BEFORE_REPLY = "before reply"


@dataclass(frozen=True)
class Accepted:
    queue_id: str
    sender: str
    recipient: str
    message: bytes


@dataclass
class FakePostfix:
    """Start with `async with fake.running()`; `log` is the file it writes."""

    log: Path
    #: Asked for each session: where to break it off.
    cut: Callable[[], Cut | None] = lambda: None
    #: Replies other than yes, by verb ("MAIL", "RCPT", "DATA", "."), asked for each.
    answer: Callable[[str, str], str | None] = lambda verb, argument: None
    #: Outcome that the log tells of an accepted message: status and text.
    outcome: Callable[[Accepted], tuple[str, str]] = lambda accepted: ("sent", "250 2.0.0 Ok: queued as REMOTE")
    accepted: list[Accepted] = field(default_factory=list)
    port: int = 0
    sessions: int = 0
    #: Cleared: accepts and answers, and logs nothing about the queue.
    delivers: bool = True
    #: Sessions read while it is set; each keeps to the one that it began with.
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    _accepting: asyncio.Condition = field(default_factory=asyncio.Condition)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FakePostfix"]:
        self.reads.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def time_out_sessions(self) -> None:
        """Do what Postfix does with clients that say nothing for long."""
        for writer in list(self._writers):
            writer.write(b"421 4.4.2 mail.example.test Error: timeout exceeded\r\n")
            writer.close()

    def hold_sessions(self) -> asyncio.Event:
        """Have the sessions that are open read nothing more until the event returned is set; later ones do."""
        held, self.reads = self.reads, asyncio.Event()
        held.clear()
        self.reads.set()
        return held

    def start_master(self) -> None:
        """Log what a new master logs first; whatever the one before took to its end was not logged."""
        self.write_log("master", 299, "daemon started -- version 3.7.11, configuration /etc/postfix")

    def write_log(self, daemon: str, pid: int, text: str) -> None:
        stamp = time.strftime("%b %e %H:%M:%S")
        with self.log.open("ab", buffering=0) as log:
            log.write(f"{stamp} mail postfix/{daemon}[{pid}]: {text}\n".encode())

    def sends(self) -> list[bytes]:
        """The Message-IDs accepted, in order."""
        return [found[1] for each in self.accepted if (found := _MESSAGE_ID.search(each.message))]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.sessions += 1
        try:
            await _Session(self, reader, writer, pid=1000 + self.sessions).run()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def accept(self, accepted: Accepted) -> None:
        self.log_message_id(accepted)
        self.accepted.append(accepted)
        async with self._accepting:
            self._accepting.notify_all()

    async def until_accepted(self, count: int) -> None:
        """Wait until so many messages were accepted in all."""
        async with self._accepting:
            await self._accepting.wait_for(lambda: len(self.accepted) >= count)

    def log_message_id(self, accepted: Accepted) -> None:
        found = _MESSAGE_ID.search(accepted.message)
        if found:
            self.write_log("cleanup", 348, f"{accepted.queue_id}: message-id={found[1].decode()}")

    def deliver(self, accepted: Accepted) -> None:
        status, text = self.outcome(accepted)
        queue_id = accepted.queue_id
        size = len(accepted.message)
        self.write_log("qmgr", 301, f"{queue_id}: from=<{accepted.sender}>, size={size}, nrcpt=1 (queue active)")
        self.write_log(
            "smtp",
            349,
            f"{queue_id}: to=<{accepted.recipient}>, relay=mx.example.org[192.0.2.1]:25, delay=0.3,"
            f" delays=0.2/0.1/0/0, dsn={'2.0.0' if status == 'sent' else '5.1.1'}, status={status} ({text})",
        )
        if status != "deferred":
            self.write_log("qmgr", 301, f"{queue_id}: removed")

    def new_queue_id(self) -> str:
        return f"4jX{next(self._numbers):09d}z{os.getpid() % 1000:03d}"


class _Session:
    def __init__(
        self, postfix: FakePostfix, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int
    ) -> None:
        self.postfix = postfix
        self.reader = reader
        self.writer = writer
        self.pid = pid
        self.cut = postfix.cut()
        self.reads = postfix.reads
        self.sender = ""
        self.recipient = ""
        self.queue_id = ""
        self.over = False

    async def run(self) -> None:
        log = self.postfix.write_log
        log("smtpd", self.pid, "connect from localhost[127.0.0.1]")
        try:
            if self.cut is not Cut.CONNECT:
                self.say("220 mail.example.test ESMTP Postfix")
                await self.commands()
        finally:
            log("smtpd", self.pid, "disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 commands=4")

    def say(self, line: str) -> None:
        self.writer.write(line.encode() + b"\r\n")

    async def line(self) -> bytes:
        await self.reads.wait()
        line = await self.reader.readuntil(b"\r\n")
        await self.reads.wait()
        return line

    async def commands(self) -> None:
        while True:
            text = (await self.line()).decode().rstrip("\r\n")
            verb = text.split(" ")[0].upper()
            if verb == "QUIT":
                self.say("221 2.0.0 Bye")
                return
            if (self.cut, verb) in {(Cut.MAIL, "MAIL"), (Cut.DATA, "DATA")}:
                return
            refused = self.postfix.answer(verb, text)
            if refused:
                self.say(refused)
            else:
                await self.command(verb, text)
            if self.over or (refused or "").startswith("421"):
                return

    async def command(self, verb: str, text: str) -> None:
        if verb == "EHLO":
            self.say("250-mail.example.test")
            self.say("250-PIPELINING")
            self.say("250 ENHANCEDSTATUSCODES")
        elif verb == "MAIL":
            self.mail(text)
        elif verb == "RCPT":
            self.rcpt(text)
        elif verb == "DATA" and self.recipient:
            self.say("354 End data with <CR><LF>.<CR><LF>")
            self.over = not await self.data()
        else:
            self.say("554 5.5.1 Error: no valid recipients")

    def mail(self, text: str) -> None:
        found = _COMMAND.match(text)
        assert found
        if " " in found[2]:
            self.postfix.write_log(
                "smtpd",
                self.pid,
                f"warning: Illegal address syntax from localhost[127.0.0.1] in MAIL command: <{found[2]}>",
            )
            self.say("501 5.1.7 Bad sender address syntax")
            return
        self.sender, self.recipient = found[2], ""
        self.say("250 2.1.0 Ok")

    def rcpt(self, text: str) -> None:
        found = _COMMAND.match(text)
        assert found
        self.recipient = found[2]
        self.queue_id = self.postfix.new_queue_id()
        self.postfix.write_log("smtpd", self.pid, f"{self.queue_id}: client=localhost[127.0.0.1]")
        self.say("250 2.1.5 Ok")

    async def data(self) -> bool:
        lines: list[bytes] = []
        try:
            while (line := await self.line()) != b".\r\n":
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
                if self.cut is Cut.MID_MESSAGE and line == b"\r\n":
                    raise ConnectionResetError
        except (OSError, asyncio.IncompleteReadError):
            size = sum(map(len, lines))
            self.postfix.write_log(
                "smtpd", self.pid, f"lost connection after DATA ({size} bytes) from localhost[127.0.0.1]"
            )
            asyncio.get_running_loop().call_later(
                0.02,
                self.postfix.log_message_id,
                Accepted(self.queue_id, self.sender, self.recipient, b"".join(lines)),
            )
            return False
        if refused := self.postfix.answer(".", self.recipient):
            self.say(refused)
            return True
        accepted = Accepted(self.queue_id, self.sender, self.recipient, b"".join(lines))
        self.recipient = ""
        await self.postfix.accept(accepted)
        if self.cut is not Cut.BEFORE_REPLY:
            self.say(f"250 2.0.0 Ok: queued as {accepted.queue_id}")
        if self.postfix.delivers:
            asyncio.get_running_loop().call_later(0.01, self.postfix.deliver, accepted)
        return self.cut is not Cut.BEFORE_REPLY
