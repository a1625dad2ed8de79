"""A soak: servers that are well are watched under mail, and whatever is said against them is false; then two are hurt.

What must be known of those: that the one is gone, and that the other's Postfix stands still.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from control_plane.errors import Conflict
from control_plane.processes.all import Installation
from control_plane.processes.places import state_dir
from control_plane.providers.local.world import World
from tests.flow.spine import Party, SaysNothing, make_party
from tests.soak.harm import kill, stop_postfix
from tests.soak.mail import Mail, Mailboxes
from tests.soak.watch import Watch

INSTANCE = "soak"
#: The limits that the two must be known in, in seconds.
DEAD_KNOWN, POSTFIX_KNOWN = 30.0, 5.0
#: What a server at rest needs, with its mail daemons and the cache of its disk.
_MEMORY_EACH = 300 << 20
_MADE_AT_ONCE = 4
_TOLD_EVERY = 300.0


class Missed(Exception):
    """Something was lost, repeated, said falsely, or not known in time; the result that was printed says what."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How many servers, for how many seconds, under how many messages a second."""

    servers: int
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen; times in seconds."""

    servers: int
    seconds: float
    accepted: int
    #: Of those, in their mailboxes once; twice; not at all.
    arrived: int
    repeated: int
    missing: int
    #: While nothing was wrong: the rule and the sentence of each alert.
    false_alerts: list[str]
    dead_known: float
    postfix_known: float

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, repeated or alerted falsely, and what was wrong was known in time."""
        kept = self.arrived == self.accepted and not self.repeated and not self.false_alerts
        return kept and self.dead_known <= DEAD_KNOWN and self.postfix_known <= POSTFIX_KNOWN

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}


async def soak(wish: Wish, tell: Callable[[str], None]) -> Result:
    """Run it. Raises `Conflict` where the machine has no room, or another soak runs."""
    _refuse_without_room(wish.servers)
    state = state_dir(INSTANCE)
    World(state).destroy()
    shutil.rmtree(state, ignore_errors=True)
    try:
        async with Installation(INSTANCE, 0, SaysNothing()) as installation:
            parties = await _make_parties(installation, wish.servers, tell)
            watch = Watch(installation.record.system_database_url)
            mail = Mail(parties, wish.rate)
            began, known_before = time.monotonic(), watch.alerts()
            await _send_while_watched(mail, watch, wish.seconds, tell)
            seconds = time.monotonic() - began
            false_alerts = [alert for alert in watch.alerts() if alert not in known_before]
            tell("waiting for the last messages")
            found = await mail.found_in(Mailboxes(state))
            tell("one server's power is cut, and another's Postfix stopped")
            dead = await watch.known(parties[0].server["id"], "reachable", lambda: kill(state, parties[0]))
            stopped = await watch.known(parties[1].server["id"], "mail_server", lambda: stop_postfix(state, parties[1]))
            for party in parties:
                await party.client.aclose()
    finally:
        shutil.rmtree(state, ignore_errors=True)
    return Result(
        servers=wish.servers,
        seconds=round(seconds, 1),
        accepted=len(mail.subjects),
        arrived=sum(count == 1 for count in found.values()),
        repeated=sum(count > 1 for count in found.values()),
        missing=len(mail.subjects) - len(found),
        false_alerts=false_alerts,
        dead_known=round(dead, 2),
        postfix_known=round(stopped, 2),
    )


async def _make_parties(installation: Installation, count: int, tell: Callable[[str], None]) -> list[Party]:
    places = asyncio.Semaphore(_MADE_AT_ONCE)

    async def make(number: int) -> Party:
        async with places:
            party = await make_party(installation.record, f"Colony {number}", f"post@colony{number}.example")
            tell(f"server {number + 1} of {count} is ready")
            return party

    return await asyncio.gather(*(make(number) for number in range(count)))


async def _send_while_watched(mail: Mail, watch: Watch, seconds: float, tell: Callable[[str], None]) -> None:
    ends = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(mail.send_for_ever())
        while (left := ends - time.monotonic()) > 0:
            tell(f"{left / 60:.0f} minutes to go, {len(mail.subjects)} accepted, alerts: {watch.alerts() or 'none'}")
            await asyncio.sleep(min(left, _TOLD_EVERY))
        sending.cancel()


def _refuse_without_room(servers: int) -> None:
    if servers < 2:
        raise Conflict("a soak needs 2 servers: each sends to the next")
    free = psutil.virtual_memory().available
    if free < servers * _MEMORY_EACH:
        raise Conflict(f"{servers} servers need {servers * _MEMORY_EACH >> 20} MiB, and {free >> 20} are free")
