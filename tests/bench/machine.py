"""On what and with what a bench ran."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from control_plane.embedded.postgres import binaries

_PACKAGES = ("psycopg", "redis", "hiredis", "sqlalchemy", "fastapi", "uvicorn", "grpcio", "cryptography")


def machine() -> dict[str, str]:
    cpus = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": cpus[1].strip() if cpus else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory_gib": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f}",
        "kernel": platform.release(),
        "load_at_start": f"{os.getloadavg()[0]:.1f}",
    }


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds of all processors since the machine began, and those for which its host had them otherwise engaged."""

    all: float
    taken: float

    @classmethod
    def now(cls) -> "ProcessorTime":
        times = psutil.cpu_times()
        return cls(sum(times), times.steal)

    def share_taken_since(self) -> float:
        now = ProcessorTime.now()
        # Counted in hundredths of a second: the next count may be the first.
        return (now.taken - self.taken) / max(now.all - self.all, 0.01)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
    redis = shutil.which("redis-server")
    programs = {"postgresql": [str(binaries(Path("/nowhere")) / "postgres")], "redis-server": [redis] if redis else []}
    return found | {name: _number([*command, "--version"]) for name, command in programs.items() if command}


def _number(command: list[str]) -> str:
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", printed)
    return found[0] if found else printed.strip()
