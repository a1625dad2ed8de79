"""Publish by dynamic updates (RFC 2136), signed with TSIG (RFC 8945): BIND, Knot, PowerDNS and what else speaks it.

Only the RRsets that are ours to touch are asked for, at the primary itself, and each update says as its prerequisite
what was found there: if somebody changes one of them in between, nothing is done, and it is planned anew. Synchronous;
`dns/publish.py` runs it in a thread.
"""

from collections.abc import Collection
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from control_plane.dns.merge import RRset, RRsetKey
from control_plane.dns.plan import Blend, PlanRefused, PublisherUnavailable, ZonePlan
from control_plane.dns.publishers.own_rrsets import keys_to_ask, plan_of_own, rdatas
from control_plane.dns.records import DnsRecord
from control_plane.dns.resolve import value_of

_TIMEOUT_SECONDS = 10.0
_ABSENT = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})
#: A prerequisite does not hold any more.
_CHANGED = frozenset({dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN})
_REFUSED = frozenset({dns.rcode.REFUSED, dns.rcode.NOTAUTH, dns.rcode.NOTZONE, dns.rcode.NOTIMP})


@dataclass(frozen=True, slots=True)
class Primary:
    """A zone's primary server; `address` is an IP address."""

    address: str
    port: int
    key: dns.tsig.Key


class Rfc2136Publisher:
    """One primary; zones have to be there already, and to allow updates with the key."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        """Return what would change; raise `PlanRefused` and `PublisherUnavailable`."""
        found = {key: self._ask(zone, key) for key in keys_to_ask(wanted, written, blended)}
        return plan_of_own(zone, found, wanted, written, blended)

    def apply(self, plan: ZonePlan) -> None:
        """Make the changes, all or none; raise `PlanRefused` and `PublisherUnavailable`."""
        if not isinstance(plan.instructions, dict):
            return
        update = dns.update.UpdateMessage(plan.zone, keyring=self._primary.key)
        for (type_, name), (old, new) in plan.instructions.items():
            owner = _owner(plan.zone, name)
            if old is None:
                update.absent(owner, type_)
            else:
                update.present(owner, *rdatas(type_, old))
            if new is None:
                update.delete(owner, type_)
            else:
                update.replace(owner, new.ttl, *rdatas(type_, new))
        code = self._send(update, plan.zone).rcode()
        if code in _CHANGED:
            raise PublisherUnavailable(f"the zone {plan.zone} was changed meanwhile")
        _require(code, frozenset({dns.rcode.NOERROR}), plan.zone)

    def _ask(self, zone: str, key: RRsetKey) -> RRset | None:
        type_, name = key
        owner = _owner(zone, name)
        query = dns.message.make_query(owner, type_)
        query.flags &= ~dns.flags.RD
        query.use_tsig(self._primary.key)
        answer = self._send(query, zone)
        _require(answer.rcode(), _ABSENT, zone)
        rrset = answer.get_rrset(answer.answer, owner, dns.rdataclass.IN, dns.rdatatype.from_text(type_))
        return RRset(frozenset(map(value_of, rrset)), rrset.ttl) if rrset else None

    def _send(self, message: dns.message.Message, zone: str) -> dns.message.Message:
        try:
            return dns.query.tcp(message, self._primary.address, _TIMEOUT_SECONDS, self._primary.port)
        except (dns.tsig.PeerError, dns.exception.FormError) as error:
            raise PlanRefused(f"the primary of {zone} does not take the key: {error}") from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise PublisherUnavailable(f"the primary of {zone} does not answer: {error}") from error


def _require(code: dns.rcode.Rcode, fine: frozenset[dns.rcode.Rcode], zone: str) -> None:
    if code in _REFUSED:
        raise PlanRefused(f"the primary of {zone} answers {code.name}: it must know the zone and allow updates to it")
    if code not in fine:
        raise PublisherUnavailable(f"the primary of {zone} answers {code.name}")


def _owner(zone: str, name: str) -> dns.name.Name:
    return dns.name.from_text(DnsRecord(zone, "", name, "").fqdn)
