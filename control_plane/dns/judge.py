"""Whether what a zone's server answered is what a record asks for: pure.

A tenant may write records by hand, and may have had SPF and DMARC before us. So the text need not be ours: SPF must be
one record that passes our addresses, DKIM must carry our key, DMARC must be one record, TLS-RPT one that names our
address among others. What an SPF record costs in
look-ups is not seen here (spf_cost.py).
"""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from control_plane.dns.dmarc import DmarcBroken, parse_dmarc
from control_plane.dns.problems import REMEDIES, Problem
from control_plane.dns.records import DnsRecord
from control_plane.dns.spf import SpfBroken, addresses_of, is_spf, parse_spf
from control_plane.dns.tls_reports import TlsReportsBroken, parse_tls_reports


class Verdict(enum.Enum):
    """What the answer says about a record; what `dns_records` keeps of it is in verify.py."""

    PENDING = "pending"
    VERIFIED = "verified"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and, unless it is `VERIFIED`, what is wrong and a sentence that says what was found instead."""

    verdict: Verdict
    detail: str | None = None
    problem: Problem | None = None


VERIFIED = Judgement(Verdict.VERIFIED)


def mismatch(problem: Problem, found: str) -> Judgement:
    """Return the verdict on a record that is not as it should be, with how to go on."""
    return Judgement(Verdict.MISMATCH, f"{found}. {REMEDIES[problem]}", problem)


def judge(record: DnsRecord, found: Sequence[str]) -> Judgement:
    """Compare a record with the values that its RRset has, in the form of `DnsRecord.value`."""
    kind = slot(record.type, record.value)
    same_kind = [value for value in found if slot(record.type, value) == kind]
    if kind in _TWO and len(same_kind) > 1:
        return mismatch(_TWO[kind], f"there are {len(same_kind)} {kind} records and only one may be there")
    if record.value in found:
        return VERIFIED
    answer = f"the zone's server answers: {'; '.join(same_kind) or '; '.join(found) or 'nothing'}"
    if any(value.startswith(ALIAS) for value in found):
        return mismatch(Problem.ALIAS_IN_THE_WAY, answer)
    if not same_kind:
        return mismatch(Problem.MISSING, answer)
    fault = _fault(record.value, same_kind[0], kind)
    return mismatch(fault, answer) if fault else VERIFIED


#: What stands for an alias among the values of another type (`resolve.values_of`).
ALIAS = "CNAME "
#: Kinds of TXT record of which a name has one (RFC 7208 section 4.5, RFC 9989, RFC 6376 section 3.6.2.2,
#: RFC 8460 section 3, RFC 8461 section 3.1).
_TWO: Mapping[str, Problem] = {
    "SPF": Problem.SPF_TWO_RECORDS,
    "DMARC": Problem.DMARC_TWO_RECORDS,
    "DKIM": Problem.DKIM_TWO_RECORDS,
    "TLSRPT": Problem.TLS_REPORTS_TWO_RECORDS,
    "STS": Problem.MTA_STS_TWO_RECORDS,
}
_VERSION_TAG = re.compile(r"v\s*=\s*(dmarc(?=1)|dkim(?=1)|tlsrpt(?=v1)|sts(?=v1))v?1(?=[\s;]|$)", re.IGNORECASE)


def slot(record_type: str, value: str) -> str:
    """Name what a value is for, so that two for the same purpose at one name can be told from strangers.

    TXT records of several purposes share a name; for every other type the type is the purpose.
    """
    if record_type != "TXT":
        return record_type
    if is_spf(value):
        return "SPF"
    tag = _VERSION_TAG.match(value)
    return tag[1].upper() if tag else f"TXT {value}"


def _fault(wanted: str, found: str, kind: str) -> Problem | None:
    match kind:
        case "SPF":
            return spf_problem(wanted, found)
        case "DKIM":
            return None if _tags(found).get("p") == _tags(wanted)["p"] else Problem.DKIM_OTHER_KEY
        case "DMARC":
            return _dmarc_fault(found)
        case "TLSRPT":
            return _tls_reports_fault(wanted, found)
        case "MX":
            return Problem.MAIL_GOES_ELSEWHERE
        case _:
            return Problem.DIFFERENT


def spf_problem(wanted: str, found: str) -> Problem | None:
    """Return what is wrong with an SPF record in place of ours, as far as it shows in the record itself."""
    try:
        record, addresses = parse_spf(found), addresses_of(wanted)
    except SpfBroken:
        return Problem.SPF_SYNTAX
    if record.passes_everybody:
        return Problem.SPF_PASSES_EVERYBODY
    return None if addresses and all(map(record.passes, addresses)) else Problem.SPF_WITHOUT_OUR_SERVERS


def _dmarc_fault(found: str) -> Problem | None:
    try:
        parse_dmarc(found)
    except DmarcBroken:
        return Problem.DMARC_SYNTAX
    return None


def _tls_reports_fault(wanted: str, found: str) -> Problem | None:
    try:
        elsewhere = set(parse_tls_reports(wanted)) - set(parse_tls_reports(found))
    except TlsReportsBroken:
        return Problem.TLS_REPORTS_SYNTAX
    return Problem.DIFFERENT if elsewhere else None


def _tags(value: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in value.split(";"))
    return {name.strip(): "".join(text.split()) for name, _, text in pairs}
