"""The demo's receiving end: runs mailbox_watch.py where the servers are and hands over what arrives."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

_START_SECONDS = 20.0
#: "method=result" of RFC 8601, section 2.2; what follows in the header is properties and comments.
_VERDICT = re.compile(r"\b(dkim|spf|dmarc)=([a-z]+)")


class WatchFailed(Exception):
    """The mailbox could not be read, or the message did not come."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it was found; `seen_at` in seconds since the epoch."""

    subject: str
    seen_at: float
    authentication_results: tuple[str, ...]
    dkim_verified: bool
    #: Of the first signature; None for a message without one.
    dkim_selector: str | None

    def verdicts(self) -> dict[str, str]:
        """Return the first result of each method, as the receiving server wrote them."""
        found: dict[str, str] = {}
        for value in self.authentication_results:
            for method, result in _VERDICT.findall(value):
                found.setdefault(method, result)
        return found


class MailboxWatch:
    """Watches one mailbox while its context is open. `enter` is put in front of the command."""

    def __init__(self, enter: Sequence[str], host: str, address: str, password: str, nameserver: str) -> None:
        self._command = [*enter, sys.executable, "-m", "control_plane.cli.mailbox_watch", host, address, nameserver]
        self._password = password
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=1 << 20
        )
        if self._process.stdin is None:
            raise WatchFailed("the mailbox watch has no input")
        self._process.stdin.write(f"{self._password}\n".encode())
        await self._line(_START_SECONDS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            await self._process.wait()

    async def arrival(self, subject: str, seconds: float) -> Arrival:
        """Return the message of this subject, whatever comes before it; raise `WatchFailed` when none comes in time."""
        while (arrival := await self.next_arrival(seconds)).subject != subject:
            continue
        return arrival

    async def next_arrival(self, seconds: float) -> Arrival:
        """Return the message that comes next; raise `WatchFailed` when none comes in time."""
        line = await self._line(seconds)
        return Arrival(
            line["subject"],
            line["seen_at"],
            tuple(line["authentication_results"]),
            line["dkim_verified"],
            line["dkim_selector"],
        )

    async def _line(self, seconds: float) -> dict[str, Any]:
        if self._process is None or self._process.stdout is None:
            raise WatchFailed("the mailbox is not being watched")
        try:
            raw = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        except TimeoutError:
            raise WatchFailed(f"nothing came into the mailbox within {seconds:g} s") from None
        if not raw:
            raise WatchFailed("the receiving mailbox could not be read over IMAPS")
        content: dict[str, Any] = json.loads(raw)
        return content
