"""What the daemon keeps on disk about each server, so that a restarted one knows them all.

`<world>/servers/<name>/server.json` is written before the first start and removed last. `leader.json` beside it names
the server's first process while it runs.
"""

import ipaddress
from pathlib import Path

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from control_plane.providers.base import PowerState, ProviderError, ProviderServer
from control_plane.providers.local.catalogue import size_of
from control_plane.providers.local.network import ipv6_of

_PROC = Path("/proc")
#: proc(5): field 22, and the name, field 2, may hold anything, so count from after it.
_START_TIME_AFTER_NAME = 19
_DEAD = ("Z", "X")


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """One server as ordered, with the address it got and whether it should run."""

    provider_id: str
    name: str
    hostname: str
    address: ipaddress.IPv4Address
    size: str
    region: str
    labels: tuple[tuple[str, str], ...]
    wanted: PowerState
    #: Further addresses, by the label they were asked for with.
    extra: tuple[tuple[str, ipaddress.IPv4Address], ...] = ()
    #: Which rebuild its disk is of; 0 for the first.
    generation: int = 0

    @property
    def addresses(self) -> tuple[ipaddress.IPv4Address, ...]:
        """All its IPv4 addresses, its own first."""
        return (self.address, *(address for _, address in self.extra))

    @property
    def pointed(self) -> tuple[str, ...]:
        """All addresses that may have a PTR."""
        own_v6 = ipv6_of(self.address)
        return tuple(map(str, (*self.addresses, *([own_v6] if own_v6 else []))))

    def as_server(self, power: PowerState) -> ProviderServer:
        """Return it as callers of the provider know it."""
        size, ipv6 = size_of(self.size), ipv6_of(self.address)
        return ProviderServer(
            provider_id=self.provider_id,
            name=self.name,
            ipv4_address=str(self.address),
            power=power,
            cores=size.cores,
            memory_bytes=size.memory_bytes,
            disk_bytes=size.disk_bytes,
            monthly_cost=None,
            ipv6_address=str(ipv6) if ipv6 else None,
            labels=self.labels,
        )


@dataclass(frozen=True, slots=True)
class Leader:
    """A server's first process, by pid and start time (clock ticks since boot): a pid alone may be another's by now."""

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> "Leader | None":
        """Describe a process; None when there is none or it has ended and nobody has asked for its status yet."""
        try:
            stat = (_PROC / str(pid) / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return cls.in_stat(pid, stat)

    @classmethod
    def in_stat(cls, pid: int, stat: str) -> "Leader | None":
        """Describe the process of this /proc/PID/stat; None for a dead one."""
        fields = stat.rpartition(") ")[2].split()
        return None if fields[0] in _DEAD else cls(pid, int(fields[_START_TIME_AFTER_NAME]))

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return Leader.of(self.pid) == self


_RECORD = TypeAdapter(ServerRecord)
_LEADER = TypeAdapter(Leader)


def servers_dir(world_dir: Path) -> Path:
    """Where each server has a folder of its name."""
    return world_dir / "servers"


def save_record(folder: Path, record: ServerRecord) -> None:
    """Write it so that a crash leaves the old one or the new one."""
    _replace(folder / "server.json", _RECORD.dump_json(record, indent=1))


def load_record(folder: Path) -> ServerRecord | None:
    """Read it; None when the server was never whole."""
    path = folder / "server.json"
    return _RECORD.validate_json(path.read_bytes()) if path.exists() else None


def save_leader(folder: Path, pid: int) -> None:
    """Note the first process of a server that has just started; nothing when it has ended already."""
    leader = Leader.of(pid)
    if leader is not None:
        _replace(folder / "leader.json", _LEADER.dump_json(leader))


def load_leader(folder: Path) -> Leader:
    """Return the first process of a server; raise `ProviderError` when it does not run."""
    try:
        leader = _LEADER.validate_json((folder / "leader.json").read_bytes())
    except FileNotFoundError as error:
        raise ProviderError(f"server {folder.name!r} does not run") from error
    if not leader.is_alive():
        raise ProviderError(f"server {folder.name!r} does not run")
    return leader


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.replace(path)
