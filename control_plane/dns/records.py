"""Which DNS records a server and an inbox need: pure, from names, an address and a DKIM key."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.dns.spf import mechanism_for

#: Seconds.
RECORD_TTL = 3600


@dataclass(frozen=True, slots=True, order=True)
class DnsRecord:
    """One value of one RRset.

    `zone` is the zone's name without a trailing dot and `name` is relative to it, `@` for the apex. `value` is in
    presentation format without quotes or escapes, host names without a trailing dot; a TXT value is whole, however it
    is split on the wire. `ttl` is in seconds.
    """

    zone: str
    type: str
    name: str
    value: str
    ttl: int = RECORD_TTL

    @property
    def fqdn(self) -> str:
        """The owner name, without a trailing dot."""
        return self.zone if self.name == "@" else f"{self.name}.{self.zone}"


@dataclass(frozen=True, slots=True)
class DkimRecordKey:
    """The published half of a DKIM key: `public_key` is SubjectPublicKeyInfo, base64 (RFC 6376, section 3.6.1)."""

    selector: str
    public_key: str


def records_for_server(hostname: str, ipv4_address: str, ipv6_address: str | None = None) -> tuple[DnsRecord, ...]:
    """Return what a server needs: each address both ways, and SPF for the name that it says in HELO.

    SPF for HELO matters for bounces, whose envelope sender is empty (RFC 7208, section 2.4); `a` is for addresses of
    both versions (section 5.3).
    """
    name, _, zone = hostname.partition(".")
    addresses = [ipv4_address, *([ipv6_address] if ipv6_address else [])]
    return (
        *(DnsRecord(zone, "AAAA" if ":" in address else "A", name, address) for address in addresses),
        DnsRecord(zone, "TXT", name, "v=spf1 a -all"),
        *(_pointer(address, hostname) for address in addresses),
    )


def _pointer(address: str, hostname: str) -> DnsRecord:
    reversed_name, _, reverse_zone = ipaddress.ip_address(address).reverse_pointer.partition(".")
    return DnsRecord(reverse_zone, "PTR", reversed_name, hostname)


def records_for_domain(
    domain: str, hostname: str, spf_addresses: Sequence[str], dkim_keys: Sequence[DkimRecordKey]
) -> tuple[DnsRecord, ...]:
    """Return what a sending domain needs in its own zone.

    SPF names each server that sends for the domain, in one record, for two would be an error (RFC 7208, section 4.5).
    DMARC asks for reports and for nothing else, in the syntax of RFC 9989.
    """
    senders = " ".join(map(mechanism_for, sorted(set(spf_addresses), key=_by_version)))
    return (
        DnsRecord(domain, "MX", "@", f"10 {hostname}"),
        DnsRecord(domain, "TXT", "@", f"v=spf1 {senders} ~all"),
        *records_without_server(domain, dkim_keys),
    )


def records_without_server(domain: str, dkim_keys: Sequence[DkimRecordKey]) -> tuple[DnsRecord, ...]:
    """Return what a sending domain needs whatever server its inboxes are on."""
    return (
        *(dkim_record(domain, key.selector, key.public_key) for key in dkim_keys),
        DnsRecord(domain, "TXT", "_dmarc", f"v=DMARC1; p=none; rua=mailto:dmarc@{domain}"),
    )


def dkim_record(domain: str, selector: str, public_key: str) -> DnsRecord:
    """Return the record of one key (RFC 6376, section 3.6.1)."""
    return DnsRecord(domain, "TXT", f"{selector}._domainkey", f"v=DKIM1; k=rsa; p={public_key}")


def records_for_inbox(
    domain: str,
    hostname: str,
    ipv4_address: str,
    spf_addresses: Sequence[str],
    dkim_keys: Sequence[DkimRecordKey],
    *,
    ipv6_address: str | None = None,
) -> tuple[DnsRecord, ...]:
    """Return all records that mail of an inbox depends on: those of its domain and of its server.

    An `ipv6_address` is one that its server sends from.
    """
    return (
        *records_for_domain(domain, hostname, spf_addresses, dkim_keys),
        *records_for_server(hostname, ipv4_address, ipv6_address),
    )


def _by_version(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)
