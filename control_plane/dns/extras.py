"""Records that a domain may have beside those that its mail needs, each because its tenant asked for it: pure."""

from dataclasses import dataclass
from urllib.parse import quote

from control_plane.dns.client_settings import AUTOCONFIG, AUTODISCOVER
from control_plane.dns.mta_sts import HOST_LABEL, Policy
from control_plane.dns.records import DnsRecord

#: Services of a mail server as clients look for them (RFC 6186, RFC 8314 section 5.1): priority and port. What has TLS
#: from the first byte comes before STARTTLS.
_SERVICES = (("_imaps", 0, 993), ("_submissions", 0, 465), ("_submission", 10, 587))


@dataclass(frozen=True, slots=True)
class Extras:
    """What was asked for."""

    #: The address that other mail servers report to how TLS went (RFC 8460); None asks for no reports.
    tls_reports_to: str | None = None
    #: Where mail programs find the domain's servers.
    client_records: bool = False
    #: What its servers promise to other mail servers (RFC 8461), and the address of the one that shows it.
    policy: Policy | None = None
    policy_address: str | None = None
    #: The address of the server that tells mail programs where the domain's mailboxes are; None where none does.
    settings_address: str | None = None


def extra_records(domain: str, hostname: str, extras: Extras) -> tuple[DnsRecord, ...]:
    """Return the records in the domain's own zone."""
    records: list[DnsRecord] = []
    if extras.tls_reports_to is not None:
        records.append(DnsRecord(domain, "TXT", "_smtp._tls", f"v=TLSRPTv1; rua={_mailto(extras.tls_reports_to)}"))
    if extras.client_records:
        records += [
            DnsRecord(domain, "SRV", f"{service}._tcp", f"{priority} 1 {port} {hostname}")
            for service, priority, port in _SERVICES
        ]
    if extras.policy is not None:
        records.append(DnsRecord(domain, "TXT", "_mta-sts", f"v=STSv1; id={extras.policy.id};"))
        if extras.policy_address is not None:
            records.append(DnsRecord(domain, "A", HOST_LABEL, extras.policy_address))
    if extras.settings_address is not None:
        records += [DnsRecord(domain, "A", label, extras.settings_address) for label in (AUTOCONFIG, AUTODISCOVER)]
        records.append(DnsRecord(domain, "SRV", "_autodiscover._tcp", f"0 1 443 {AUTODISCOVER}.{domain}"))
    return tuple(records)


def _mailto(address: str) -> str:
    """Return the address as a URI: what separates tags and URIs is encoded in it (RFC 8460, section 3)."""
    local_part, _, domain = address.rpartition("@")
    return f"mailto:{quote(local_part, safe='')}@{domain}"
