"""Load, memory and uptime of the whole server.

Read from the kernel itself: psutil would cost every agent 2 MiB of memory for two numbers.
"""

import os
import time
from pathlib import Path

from protos.agent.v1.telemetry_pb2 import Host

_MEMINFO = Path("/proc/meminfo")


def read_host() -> Host:
    """Sample the host; a few system calls, nothing that waits."""
    memory = parse_meminfo(_MEMINFO.read_text(encoding="ascii"))
    return Host(
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
