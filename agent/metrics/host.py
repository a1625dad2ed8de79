"""Load, processors, memory, network and uptime of the whole server.

Read from the kernel itself: psutil would cost every agent 2 MiB of memory for two numbers.
"""

import os
import time
from pathlib import Path

from protos.agent.v1.telemetry_pb2 import Host, Network

_MEMINFO = Path("/proc/meminfo")
_STAT = Path("/proc/stat")
_NETWORK = Path("/proc/net/dev")
_OWN_PAGES = Path("/proc/self/statm")


class Processors:
    """Remembers the processors' times, for the share that was used between two samples."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def used_percent(self, stat: str) -> float | None:
        """Take the text of /proc/stat (proc(5)); None for the first, and when no time has passed."""
        times, before = parse_stat(stat), self._before
        self._before = times
        if times is None or before is None or times[1] <= before[1]:
            return None
        return min(100.0, max(0.0, 100.0 * (times[0] - before[0]) / (times[1] - before[1])))


def read_host(processors: Processors) -> Host:
    """Sample the host; a few system calls, nothing that waits."""
    memory = parse_meminfo(_MEMINFO.read_text(encoding="ascii"))
    return Host(
        cpu_percent=processors.used_percent(_STAT.read_text(encoding="ascii")),
        swap_total_bytes=memory.get("SwapTotal", 0),
        swap_free_bytes=memory.get("SwapFree", 0),
        load_1m=os.getloadavg()[0],
        cpu_count=os.cpu_count() or 0,
        memory_total_bytes=memory.get("MemTotal", 0),
        memory_available_bytes=memory.get("MemAvailable", 0),
        uptime_seconds=time.clock_gettime(time.CLOCK_BOOTTIME),
    )


def parse_meminfo(text: str) -> dict[str, int]:
    """Read /proc/meminfo (proc(5)) into bytes by name; lines without a unit, or cut short, are left out."""
    memory = {}
    for line in text.splitlines():
        match line.split():
            case [name, number, "kB"] if name.endswith(":") and number.isdecimal():
                memory[name[:-1]] = int(number) * 1024
    return memory


def parse_stat(text: str) -> tuple[int, int] | None:
    """Read the processors' used and whole time, in ticks, from /proc/stat; None when its first line is cut.

    Waiting for a disk counts as idle. What guests use is in `user` already.
    """
    name, *numbers = text.partition("\n")[0].split() or [""]
    ticks = [int(number) for number in numbers[:8] if number.isdecimal()]
    if name != "cpu" or len(ticks) < 8:
        return None
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def read_own_memory() -> int:
    """Sample the resident memory of this process, in bytes (proc_pid_statm(5))."""
    return int(_OWN_PAGES.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_network() -> Network:
    """Sample the bytes that went over the network since the start."""
    received, sent = parse_network(_NETWORK.read_text(encoding="ascii", errors="replace"))
    return Network(received_bytes=received, sent_bytes=sent)


def parse_network(text: str) -> tuple[int, int]:
    """Read /proc/net/dev: bytes received and sent over all interfaces but loopback; lines that are cut are left out."""
    received = sent = 0
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        numbers = rest.split()
        if colon and name.strip() != "lo" and len(numbers) >= 9 and numbers[0].isdecimal() and numbers[8].isdecimal():
            received += int(numbers[0])
            sent += int(numbers[8])
    return received, sent
