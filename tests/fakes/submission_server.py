"""A submission server on loopback: speaks SMTP, takes everything, and keeps it for the test to read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

_KNOWN = {b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET"}


class SubmissionServer:
    """What was submitted, in order; with `refuses`, nothing is taken."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.refuses = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink ESMTP\r\n")
        while line := await reader.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                message = message_from_bytes(content[:-3].replace(b"\r\n..", b"\r\n."), policy=policy.default)
                self.letters.append(message)
                writer.write(b"250 taken\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            elif verb == b"MAIL" and self.refuses:
                writer.write(b"451 not now\r\n")
            else:
                writer.write(
                    b"250 sink\r\n" if verb in {b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET"} else b"502 no\r\n"
                )
            await writer.drain()
        writer.close()


@asynccontextmanager
async def running_submission_server() -> AsyncIterator[SubmissionServer]:
    sink = SubmissionServer()
    server = await asyncio.start_server(sink.converse, "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    async with server:
        yield sink
