"""Which updates of installed packages wait: what apt would do if it were asked for all of them (apt-get(8), -s).

Held packages are told too, for these wait for a plan. It takes apt some seconds of a processor, so it is asked seldom:
once its lists became others, as they do when they are fetched, and otherwise an hour after packages changed.
"""

import asyncio
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from agent.metrics.command import CommandFailed, output_of
from mailstack.packages import MAIL_PACKAGES
from protos.agent.v1.telemetry_pb2 import OfferedPackage, PackageUpdates

LISTS = Path("/var/lib/apt/lists")
DPKG_STATUS = Path("/var/lib/dpkg/status")
#: Seconds between looks at when these changed, and before apt is asked again for packages that changed alone.
LOOK = 60.0
_SELDOM = 3600.0
#: Seconds that apt may take, which comes last of all that wants the processor.
_TIMEOUT = 300.0
_SIMULATE = (
    *("nice", "-n", "19", "apt-get", "-qq", "--simulate", "--ignore-hold", "-o", "Debug::NoLocking=true"),
    "dist-upgrade",
)
_WANTED = ("dpkg-query", "--show", "--showformat=${Package}\t${db:Status-Want}\n")
#: Of a package that is there already: name, version, and in brackets the new version with the archives that have it.
_UPDATE = re.compile(r"^Inst (\S+) \[([^]\s]+)\] \((\S+) (.*?)\[[\w-]+\]\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Stamps:
    """When apt's lists, and packages, changed last; nanoseconds since the Unix epoch."""

    lists_ns: int
    packages_ns: int


def is_due(read: Stamps | None, before: Stamps | None, now: Stamps, seconds: float) -> bool:
    """Return whether apt is to be asked: it may say something else than when it was read so many seconds ago.

    What changed since the look before is still changing.
    """
    if now != before or now == read:
        return False
    return read is None or now.lists_ns != read.lists_ns or seconds >= _SELDOM


def read_updates(simulated: str, held: Collection[str]) -> PackageUpdates:
    """Return what apt would bring, from what it says that it would do."""
    offered = [
        OfferedPackage(
            name=name.partition(":")[0],
            installed=installed,
            offered=version,
            security="security" in archives.lower(),
            held=name.partition(":")[0] in held,
        )
        for name, installed, version, archives in _UPDATE.findall(simulated)
    ]
    return PackageUpdates(
        waiting=len(offered),
        security=sum(each.security for each in offered),
        mail=[each for each in offered if each.name in MAIL_PACKAGES],
    )


def read_held(wanted: str) -> frozenset[str]:
    """Return the packages that are held, from names with what dpkg is to do about them."""
    rows = (line.split("\t") for line in wanted.splitlines())
    return frozenset(name for name, want in rows if want == "hold")


class UpdateWatch:
    """Keeps what apt said last in `told`; None where nothing was ever fetched."""

    def __init__(self, lists: Path = LISTS, dpkg_status: Path = DPKG_STATUS) -> None:
        self.told: PackageUpdates | None = None
        self._lists = lists
        self._dpkg_status = dpkg_status
        self._before: Stamps | None = None
        self._read: Stamps | None = None
        self._read_at = 0.0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look(time.monotonic())
            await asyncio.sleep(LOOK)

    async def look(self, now: float) -> None:
        """Ask apt if that is due; `now` is in seconds of a clock that is never set."""
        stamps = self._stamps()
        if stamps is not None and is_due(self._read, self._before, stamps, now - self._read_at):
            self._read_at = now
            # In vain is as if packages had changed since: in an hour again.
            self._read = stamps if await self._ask(stamps) else Stamps(stamps.lists_ns, 0)
        self._before = stamps

    async def _ask(self, stamps: Stamps) -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT):
                told = read_updates(await _said(*_SIMULATE), read_held(await _said(*_WANTED)))
        except (CommandFailed, TimeoutError):
            return False
        told.looked_ms, told.lists_ms = time.time_ns() // 1_000_000, stamps.lists_ns // 1_000_000
        self.told = told
        return True

    def _stamps(self) -> Stamps | None:
        try:
            if not any(self._lists.glob("*Release")):
                return None
            return Stamps(self._lists.stat().st_mtime_ns, self._dpkg_status.stat().st_mtime_ns)
        except OSError:
            return None


async def _said(*arguments: str) -> str:
    async with output_of(*arguments) as output:
        return (await output.read()).decode(errors="replace")
