"""Publish to the DNS of Hetzner Cloud by its API. Made from its documentation, not verified live.

By its maker's library and not through octoDNS, whose adapter takes a failed look at a zone for an empty zone, and would
then write over what is there. Only our own RRsets are asked for; values are added to one or taken out of it by value,
so that what somebody else adds in between stays.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import cast

import dns.exception
import dns.rdata
from hcloud import APIException, Client, HCloudException
from hcloud.zones import BoundZone, ZoneRecord, ZoneRRSet
from hcloud.zones.domain import ZoneRRSetType
from requests import RequestException

from control_plane.dns.merge import RRset, RRsetKey
from control_plane.dns.plan import NONSENSE, Blend, PublisherNeedsPerson, PublisherUnavailable, ZonePlan
from control_plane.dns.publishers.own_rrsets import in_a_zone_file, keys_to_ask, plan_of_own
from control_plane.dns.records import RECORD_TTL, DnsRecord
from control_plane.dns.resolve import value_of

_log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0
#: Codes of its API after which another look may find it otherwise.
_PASSING = frozenset(
    {"conflict", "uniqueness_error", "locked", "rate_limit_exceeded", "timeout", "server_error", "service_error"}
    | {"unavailable", "maintenance", "robot_unavailable", "incorrect_zone_mode"}
)
_NONSENSE: tuple[type[Exception], ...] = (*NONSENSE, dns.exception.DNSException)


class HetznerPublisher:
    """One project; zones have to be there already."""

    def __init__(self, token: str, api_url: str, poll_seconds: float = 1.0) -> None:
        self._client = Client(
            token, api_url, application_name="penguinmails", poll_interval=poll_seconds, timeout=_TIMEOUT_SECONDS
        )

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        """Return what would change; raise `PlanRefused`, `PublisherUnavailable` and `PublisherNeedsPerson`."""
        keys = keys_to_ask(wanted, written, blended)
        with _told_apart(zone):
            bound = self._zone(zone)
            present = {
                (str(rrset.type), str(rrset.name)): _found(rrset, bound.ttl or RECORD_TTL)
                for name in sorted({name for _, name in keys})
                for rrset in bound.get_rrset_all(name=name)
            }
        return plan_of_own(zone, {key: present.get(key) for key in keys}, wanted, written, blended)

    def apply(self, plan: ZonePlan) -> None:
        """Make the changes, one RRset after the other; raise as `plan` does."""
        if not isinstance(plan.instructions, dict):
            return
        with _told_apart(plan.zone):
            bound = self._zone(plan.zone)
            for key, (old, new) in plan.instructions.items():
                _change(bound, key, old, new)

    def _zone(self, name: str) -> BoundZone:
        return self._client.zones.get(name)


def _change(zone: BoundZone, key: RRsetKey, old: RRset | None, new: RRset | None) -> None:
    type_, name = key
    before, after = (rrset.values if rrset else frozenset() for rrset in (old, new))
    rrset = ZoneRRSet(name=name, type=cast("ZoneRRSetType", type_), zone=zone)
    if old is None and new is not None:
        zone.create_rrset(
            name=name, type=cast("ZoneRRSetType", type_), ttl=new.ttl, records=_records(type_, after)
        ).action.wait_until_finished()
    elif before - after and after - before:
        zone.set_rrset_records(rrset, _records(type_, after)).wait_until_finished()
    elif after - before:
        zone.add_rrset_records(rrset, _records(type_, after - before)).wait_until_finished()
    else:
        zone.remove_rrset_records(rrset, _records(type_, before - after)).wait_until_finished()


def _records(type_: str, values: Collection[str]) -> list[ZoneRecord]:
    return [ZoneRecord(value=in_a_zone_file(type_, value)) for value in sorted(values)]


def _found(rrset: ZoneRRSet, zone_ttl: int) -> RRset:
    values = (value_of(dns.rdata.from_text("IN", str(rrset.type), r.value)) for r in rrset.records or ())
    return RRset(frozenset(values), rrset.ttl or zone_ttl)


@contextmanager
def _told_apart(zone: str) -> Iterator[None]:
    try:
        yield
    except APIException as error:
        if error.code in _PASSING:
            raise PublisherUnavailable(f"Hetzner does not change {zone} now: {error.code}") from error
        if error.code == "not_found":
            raise PublisherNeedsPerson(f"Hetzner has no zone {zone} in this project") from error
        raise PublisherNeedsPerson(f"Hetzner refuses for {zone}: {error.code}") from error
    except (HCloudException, RequestException) as error:
        raise PublisherUnavailable(f"Hetzner does not answer for {zone}") from error
    except _NONSENSE as error:
        _log.warning("what Hetzner answers for %s is not understood", zone, exc_info=True)
        raise PublisherUnavailable(f"what Hetzner answers for {zone} is not understood") from error
