"""The server's clocks in the unit of the wire contract, as arguments.

The wall clock is what a lease's deadline is written in, and it can be set. The boot clock (CLOCK_BOOTTIME) cannot, and
counts while the machine sleeps; it begins anew with each boot, which has an id.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: Milliseconds since the Unix epoch, UTC; of a boot clock: since the boot.
NowMs = Callable[[], int]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class BootClock:
    """The clock of one boot."""

    boot_id: str
    now_ms: NowMs

    def deadline(self, lease_deadline_ms: int, wall_now_ms: int) -> int:
        """Return when, by this clock, a lease ends that ends then by the wall clock, which now shows this."""
        return self.now_ms() + lease_deadline_ms - wall_now_ms


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Both clocks at one moment."""

    wall_ms: int
    boot_ms: int

    def leap_to(self, later: "ClockReading") -> int:
        """Return by how many milliseconds the wall clock was set ahead until a later reading, or less than 0: back."""
        return (later.wall_ms - self.wall_ms) - (later.boot_ms - self.boot_ms)


def wall_ms() -> int:
    """Return the present moment by the server's clock."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=1)
def this_boot() -> BootClock:
    """Return the clock of the boot that this process runs in."""
    return BootClock(
        _BOOT_ID.read_text(encoding="ascii").strip(),
        lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
    )
