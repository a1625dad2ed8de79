"""The receiving sink: an SMTP server that writes down what it takes, durably, before it says that it took it.

Run inside the local world's namespace: `python -m tests.faults.sink JOURNAL`, PowerDNS's API key as one line on
standard input. It gives itself an address on the world's bridge, publishes its MX, prints `ready`, and serves until
standard input closes. How it treats a recipient stands in the recipient's domain (`plan.Temper`).

The journal has one JSON object a line. `{"copy": N, ...}` when a message has been read whole, before any reply;
`{"heard": N}` when the client went on after the reply and so must have read it. It offers no PIPELINING, so that a
client never goes on before. A copy without `heard` is the one window in which nobody can know.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from control_plane.providers.local.network import BRIDGE, NAMESERVER
from tests.faults.plan import SINK_DOMAIN, Temper, temper_of

ADDRESS = "10.77.0.60"
_SLOW_SECONDS = 0.3
_LINE = 1 << 20
_RECIPIENT = re.compile(r"RCPT TO:<([^>]*)>", re.IGNORECASE)
_MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_QUEUE_ID = re.compile(rb"^received:.*?\sid\s+([0-9A-Za-z]+)", re.IGNORECASE | re.MULTILINE | re.DOTALL)


class Sink:
    """One sink and its journal."""

    def __init__(self, journal: Path) -> None:
        self._file = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._copies = 0
        #: Recipients that were treated to their temper once.
        self._treated: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side hangs up."""
        try:
            await _Session(self, reader, writer).run()
        except (OSError, EOFError, asyncio.CancelledError):
            # The client is gone, or all ends.
            pass
        finally:
            writer.transport.abort()

    def first_time(self, recipient: str) -> bool:
        """Whether a recipient has not been treated to its temper yet; from now on it has."""
        new = recipient not in self._treated
        self._treated.add(recipient)
        return new

    def take(self, recipient: str, content: bytes) -> int:
        """Write down a message and return the number of the copy."""
        self._copies += 1
        header, _, body = content.partition(b"\r\n\r\n")
        self._write(
            {
                "copy": self._copies,
                "message_id": _found(_MESSAGE_ID, header),
                "queue_id": _found(_QUEUE_ID, header),
                "recipient": recipient,
                "body_sha256": hashlib.sha256(body).hexdigest(),
            }
        )
        return self._copies

    def heard(self, copy: int) -> None:
        """Write down that the client has read the reply for a copy."""
        self._write({"heard": copy})

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")
        os.fdatasync(self._file)


class _Session:
    def __init__(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sink = sink
        self._reader = reader
        self._writer = writer
        self._recipient = ""
        self._answered: int | None = None

    async def run(self) -> None:
        await self._say("220 sink.example ESMTP")
        while line := (await self._reader.readline()).decode("latin-1").strip():
            if self._answered is not None:
                self._sink.heard(self._answered)
                self._answered = None
            verb = line[:4].upper()
            if verb == "DATA":
                await self._data()
            else:
                await self._say(self._reply(verb, line))
            if verb == "QUIT":
                return

    def _reply(self, verb: str, line: str) -> str:
        match verb:
            case "RCPT":
                return self._recipient_reply(line)
            case "QUIT":
                return "221 2.0.0 Bye"
            case _:
                return "250 2.0.0 Ok"

    def _recipient_reply(self, line: str) -> str:
        found = _RECIPIENT.match(line)
        if found is None:
            return "501 5.5.4 Syntax"
        self._recipient = found[1]
        match temper_of(self._recipient):
            case Temper.REFUSES:
                return "550 5.1.1 User unknown"
            case Temper.LATER if self._sink.first_time(self._recipient):
                return "451 4.7.1 Come again"
            case _:
                return "250 2.1.5 Ok"

    async def _data(self) -> None:
        temper = temper_of(self._recipient)
        await self._say("354 Go on")
        if temper is Temper.BREAKS and self._sink.first_time(self._recipient):
            await self._reader.readline()
            raise EOFError
        content = await self._content()
        copy = self._sink.take(self._recipient, content)
        if temper is Temper.CUTS and self._sink.first_time(self._recipient):
            raise EOFError
        if temper is Temper.SLOW:
            await asyncio.sleep(_SLOW_SECONDS)
        self._answered = copy
        await self._say("250 2.0.0 Ok")

    async def _content(self) -> bytes:
        lines = []
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    async def _say(self, line: str) -> None:
        self._writer.write(f"{line}\r\n".encode())
        await self._writer.drain()


def _found(pattern: re.Pattern[bytes], header: bytes) -> str:
    found = pattern.search(header)
    return found[1].decode("latin-1") if found else ""


def _publish(api_key: str) -> None:
    """Lead every name below the sink's domain to the sink."""
    records = [("MX", f"*.{SINK_DOMAIN}.", f"10 mx.{SINK_DOMAIN}."), ("A", f"mx.{SINK_DOMAIN}.", ADDRESS)]
    zone = {
        "name": f"{SINK_DOMAIN}.",
        "kind": "Native",
        "nameservers": ["ns1.local.example."],
        "rrsets": [
            {"name": name, "type": kind, "ttl": 3600, "records": [{"content": content, "disabled": False}]}
            for kind, name, content in records
        ],
    }
    url = f"http://{NAMESERVER}:8081/api/v1/servers/localhost/zones"
    with httpx.Client(headers={"X-API-Key": api_key}, trust_env=False, timeout=10) as client:
        client.post(url, json=zone).raise_for_status()


async def _serve(journal: Path) -> None:
    sink = Sink(journal)
    async with await asyncio.start_server(sink.serve, ADDRESS, 25, limit=_LINE):
        print("ready", flush=True)
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve until standard input closes."""
    api_key = sys.stdin.readline().strip()
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/16", "dev", BRIDGE], check=True)
    _publish(api_key)
    asyncio.run(_serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
