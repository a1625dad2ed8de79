"""Tries whether mail can leave this server: connects to a mail host's port 25 and reads its greeting.

SECURITY: what is asked for comes over the link. Only port 25 can be tried, only over IPv4 as Postfix sends, and nothing
is said but EHLO and QUIT: this can neither scan ports nor ask about addresses.
"""

import asyncio
import os
import re
import socket

from protos.agent.v1.commands_pb2 import Command, CommandResult

SMTP_PORT = 25
#: Seconds for all of it; a provider that blocks the port lets packets vanish.
_PATIENCE_SECONDS = 10.0
#: RFC 5321 section 4.5.3.1.5: a reply line has at most 512 octets.
_LONGEST_LINE = 512
#: The most lines of a greeting or of the answer to EHLO that are read.
_MOST_LINES = 64
_HOST = re.compile(r"(?!-)[0-9A-Za-z-]{1,63}(?:\.[0-9A-Za-z-]{1,63})*\.?", re.ASCII)
_LONGEST_HOST = 253


class _NoGreeting(Exception):
    """The message says what came in place of a greeting."""


class ProbePort:
    """The deed `probe_port`; `port` is another one only in tests, where 25 needs root."""

    def __init__(self, port: int = SMTP_PORT, patience: float = _PATIENCE_SECONDS) -> None:
        self._port = port
        self._patience = patience

    async def __call__(self, command: Command) -> CommandResult:
        """Done when the host greets with 220; failed, with the reason, when it does not."""
        deed = command.probe_port
        if deed.port != self._port or len(deed.host) > _LONGEST_HOST or not _HOST.fullmatch(deed.host):
            detail = f"only port {self._port} of a named mail host can be tried"
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_REFUSED, detail=detail)
        try:
            async with asyncio.timeout(self._patience):
                greeting = await self._greeting(deed.host)
        except TimeoutError:
            detail = f"{deed.host} did not answer within {self._patience:.0f} s"
        except (OSError, _NoGreeting) as error:
            detail = f"{deed.host}: {_reason(error)}"
        else:
            return CommandResult(
                id=command.id, outcome=CommandResult.OUTCOME_DONE, detail=f"{deed.host} greets", output=greeting
            )
        return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_FAILED, detail=detail)

    async def _greeting(self, host: str) -> str:
        reader, writer = await asyncio.open_connection(host, self._port, family=socket.AF_INET, limit=_LONGEST_LINE)
        try:
            greeting = await _reply(reader)
            if not greeting.startswith("220"):
                raise _NoGreeting(f"it greets with {greeting!r}")
            # A thread of its own: where the name is not in /etc/hosts, name servers are asked, and may not answer.
            name = await asyncio.to_thread(socket.getfqdn)
            writer.write(f"EHLO {name}\r\n".encode("ascii", "replace"))
            await _reply(reader)
            writer.write(b"QUIT\r\n")
            await writer.drain()
            return greeting
        finally:
            writer.close()


def _reason(error: OSError | _NoGreeting) -> str:
    """Return the system's words: asyncio's own name an address that the control plane has no use for."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error)


async def _reply(reader: asyncio.StreamReader) -> str:
    """Return the first line of a reply, having read all of them (RFC 5321 section 4.2.1)."""
    first = ""
    for _ in range(_MOST_LINES):
        try:
            line = (await reader.readuntil(b"\n")).decode(errors="replace").rstrip()
        except asyncio.IncompleteReadError:
            raise _NoGreeting("it hung up") from None
        except asyncio.LimitOverrunError:
            raise _NoGreeting("that is no mail server") from None
        first = first or line
        if line[3:4] != "-":
            return first
    raise _NoGreeting("its reply does not end")
