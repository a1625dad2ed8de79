"""Whether what a zone's server answered is what a record asks for: pure.

A tenant may write records by hand, and may have had SPF and DMARC before us. So the text need not be ours: SPF must be
one record that passes our addresses, DKIM must carry our key, DMARC must be one record.
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.dns.records import DnsRecord


class Verdict(enum.Enum):
    """What `dns_records.verification_status` may hold."""

    PENDING = "pending"
    VERIFIED = "verified"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and, unless it is `VERIFIED`, a sentence that says what was found instead."""

    verdict: Verdict
    detail: str | None = None


_VERIFIED = Judgement(Verdict.VERIFIED)


def judge(record: DnsRecord, found: Sequence[str]) -> Judgement:
    """Compare a record with the values that its RRset has, in the form of `DnsRecord.value`."""
    kind = slot(record.type, record.value)
    same_kind = [value for value in found if slot(record.type, value) == kind]
    if record.value in found and not (kind in _ALONE and len(same_kind) > 1):
        return _VERIFIED
    if kind in _ALONE and len(same_kind) > 1:
        return Judgement(Verdict.MISMATCH, f"there are {len(same_kind)} {kind} records and only one may be there")
    if len(same_kind) == 1 and _serves(record.value, same_kind[0], kind):
        return _VERIFIED
    answer = "; ".join(same_kind) or "; ".join(found) or "nothing"
    return Judgement(Verdict.MISMATCH, f"the zone's server answers: {answer}")


#: Kinds of TXT record of which a name has one (RFC 7208 section 4.5, RFC 9989, RFC 6376 section 3.6.2.2).
_ALONE = frozenset({"SPF", "DMARC", "DKIM"})
_VERSION_TAG = re.compile(r"v\s*=\s*(spf|dmarc|dkim)1(?=[\s;]|$)", re.IGNORECASE)


def slot(record_type: str, value: str) -> str:
    """Name what a value is for, so that two for the same purpose at one name can be told from strangers.

    TXT records of several purposes share a name; for every other type the type is the purpose.
    """
    if record_type != "TXT":
        return record_type
    tag = _VERSION_TAG.match(value)
    return tag[1].upper() if tag else f"TXT {value}"


def _serves(wanted: str, found: str, kind: str) -> bool:
    match kind:
        case "SPF":
            return _passed_addresses(wanted) <= _passed_addresses(found) and bool(_passed_addresses(wanted))
        case "DKIM":
            return _tags(found).get("p") == _tags(wanted)["p"]
        case "DMARC":
            return _tags(found).get("p") in {"none", "quarantine", "reject"}
        case _:
            return False


def _passed_addresses(spf: str) -> set[str]:
    return {term.removeprefix("+") for term in spf.lower().split() if term.removeprefix("+").startswith("ip4:")}


def _tags(value: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in value.split(";"))
    return {name.strip(): "".join(text.split()) for name, _, text in pairs}
