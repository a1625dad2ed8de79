"""Ask a zone's own servers for one RRset, past every cache."""

from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.resolver
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.SRV import SRV

#: Seconds for one question, all servers and retries together.
QUESTION_TIMEOUT = 5.0


class NoAnswer(Exception):
    """No server could be asked, or none knew: nothing is known about the record."""


async def values_of(fqdn: str, record_type: str, nameservers: Sequence[str], port: int = 53) -> tuple[str, ...]:
    """Return the RRset's values in the form of `DnsRecord.value`; none when the name or the type is not there.

    A TXT record may stand behind an alias. Behind one, an MX does not: `CNAME <target>` is returned in its place.
    Raises `NoAnswer` when no server answers, or only with a failure.
    """
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = list(nameservers)
    resolver.port = port
    # A DKIM key does not fit into 512 octets; this spares the second question over TCP.
    resolver.use_edns(0, 0, 1232)
    try:
        answer = await resolver.resolve(
            dns.name.from_text(fqdn), record_type, lifetime=QUESTION_TIMEOUT, raise_on_no_answer=False
        )
    except dns.resolver.NXDOMAIN as error:
        return _alias(fqdn, record_type, error.canonical_name)
    except (dns.exception.DNSException, OSError) as error:
        raise NoAnswer(f"no answer for {fqdn} {record_type}: {error}") from error
    alias = _alias(fqdn, record_type, answer.canonical_name)
    return alias or tuple(value_of(rdata) for rdata in answer.rrset or ())


async def ask(nameservers: Sequence[str], fqdn: str, record_type: str) -> tuple[str, ...]:
    """Return the same in the order of arguments that suits `partial`: who is asked is known before what."""
    return await values_of(fqdn, record_type, nameservers)


def _alias(fqdn: str, record_type: str, canonical: dns.name.Name) -> tuple[str, ...]:
    return (f"CNAME {_host(canonical)}",) if record_type == "MX" and canonical != dns.name.from_text(fqdn) else ()


def value_of(rdata: dns.rdata.Rdata) -> str:
    """Return one value in the form of `DnsRecord.value`."""
    match rdata:
        case TXT():
            return b"".join(rdata.strings).decode(errors="replace")
        case MX():
            return f"{rdata.preference} {_host(rdata.exchange)}"
        case SRV():
            return f"{rdata.priority} {rdata.weight} {rdata.port} {_host(rdata.target)}"
        case PTR() | CNAME():
            return _host(rdata.target)
        case _:
            return rdata.to_text()


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
