"""What an installation says of itself to the commands of the same checkout: where it runs and how it is reached.

`run/process.json` names the process from its first moment, so that `penguin down` can end it; `run/installation.json`
(mode 0600, it holds URLs with passwords) is there while everything serves. A process is known by its id and the moment
it started, since ids are given again.
"""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

_MODE = 0o600


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process that cannot be mistaken for a later one of the same id; `started` in clock ticks since boot."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _start_of(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class InstallationRecord:
    """How a running installation is reached."""

    process: ProcessMark
    rest_url: str
    #: Put in front of a command that shall run where the servers are; empty where there is no such place.
    enter: tuple[str, ...]
    system_database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    #: The operators' REST API; None where it is not served.
    operator_url: str | None = None


def mark_of(pid: int) -> ProcessMark:
    """Return the mark of a process that runs; raise `ProcessLookupError` when there is none."""
    started = _start_of(pid)
    if started is None:
        raise ProcessLookupError(pid)
    return ProcessMark(pid, started)


def write_process(state_dir: Path) -> None:
    """Say that this process is the installation."""
    _write(_process_file(state_dir), dataclasses.asdict(mark_of(os.getpid())))


def read_process(state_dir: Path) -> ProcessMark | None:
    """Return the process that is the installation, if it is alive."""
    try:
        mark = ProcessMark(**json.loads(_process_file(state_dir).read_text()))
    except FileNotFoundError:
        return None
    return mark if mark.alive() else None


def write_record(state_dir: Path, record: InstallationRecord) -> None:
    """Say that everything serves, and how it is reached."""
    _write(_record_file(state_dir), dataclasses.asdict(record))


def read_record(state_dir: Path) -> InstallationRecord | None:
    """Return how the installation is reached, if it serves and its process is alive."""
    try:
        content = json.loads(_record_file(state_dir).read_text())
    except FileNotFoundError:
        return None
    content |= {"process": ProcessMark(**content["process"]), "enter": tuple(content["enter"])}
    record = InstallationRecord(**content)
    return record if record.process.alive() else None


def remove_records(state_dir: Path) -> None:
    """Say that there is no installation any more."""
    _record_file(state_dir).unlink(missing_ok=True)
    _process_file(state_dir).unlink(missing_ok=True)


def _process_file(state_dir: Path) -> Path:
    return state_dir / "run" / "process.json"


def _record_file(state_dir: Path) -> Path:
    return state_dir / "run" / "installation.json"


def _write(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=_MODE)
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.rename(path)


def _start_of(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat (proc(5)); the second field, a name, may hold anything, also ") "."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    # A zombie runs no more.
    return None if fields[0] in "ZX" else int(fields[19])
