"""A DNS host in a file, which worker processes share."""

import fcntl
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from control_plane.dns.plan import Blend, ZonePlan
from control_plane.dns.records import DnsRecord
from tests.provisioning_faults.zone import MemoryZone


@dataclass(frozen=True, slots=True)
class FileZone:
    """Implements `dns.publish.Publisher`."""

    path: Path

    @property
    def records(self) -> set[DnsRecord]:
        """Return all that is in it."""
        with self._opened() as zone:
            return zone.records

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        with self._opened() as opened:
            return opened.plan(zone, wanted, written, blended)

    def apply(self, plan: ZonePlan) -> None:
        with self._opened() as opened:
            opened.apply(plan)

    @contextmanager
    def _opened(self) -> Iterator[MemoryZone]:
        """Read it, and write it back, while nobody else does."""
        with self.path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            zone = MemoryZone({DnsRecord(*record) for record in json.loads(file.read() or "[]")})
            yield zone
            file.truncate(0)
            json.dump([astuple(record) for record in sorted(zone.records)], file)
