"""What a check before use found, and what it means for a server: the tables of verdict and consequence are here.

| verdict | meaning |
| --- | --- |
| `passed` | as it should be |
| `warned` | worth knowing; the server is used all the same |
| `unknown` | nobody is to be asked, or nobody can tell: no proof of anything, and never held against a server |
| `pending` | it could not be found out just now, and has to be |
| `failed` | it keeps the server from being used |
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """`preflight_results.verdict`."""

    PASSED = "passed"
    WARNED = "warned"
    UNKNOWN = "unknown"
    PENDING = "pending"
    FAILED = "failed"


class Check(enum.StrEnum):
    """`preflight_results.kind`."""

    PORT_25 = "port_25"
    REVERSE_DNS = "reverse_dns"
    REVERSE_DNS_V6 = "reverse_dns_v6"
    BLOCKLIST = "blocklist"
    BLOCKLIST_V6 = "blocklist_v6"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one thing: an address, a list, a probed host; `detail` is a sentence for people."""

    check: Check
    about: str
    verdict: Verdict
    detail: str


class Consequence(enum.Enum):
    """What follows for the server, the strongest last."""

    USE = "use it"
    #: Records and clocks come right by themselves, and agents come back.
    WAIT = "look again"
    OPEN_PORT = "the provider has to open the port"
    REPLACE_ADDRESS = "the address is no good"


_OF_FAILURE = {
    Check.PORT_25: Consequence.OPEN_PORT,
    # Where the record does not come for long, the step replaces the address.
    Check.REVERSE_DNS: Consequence.WAIT,
    # A server is used without IPv6, so these are never failed (ipv6.py).
    Check.REVERSE_DNS_V6: Consequence.USE,
    Check.BLOCKLIST_V6: Consequence.USE,
    Check.BLOCKLIST: Consequence.REPLACE_ADDRESS,
    Check.CLOCK: Consequence.WAIT,
}
_ORDER = tuple(Consequence)


def consequence_of(findings: Iterable[Finding]) -> Consequence:
    """Return what follows from all of them: the strongest that follows from any."""
    return max(map(_consequence, findings), key=_ORDER.index, default=Consequence.USE)


def reasons(findings: Iterable[Finding], consequence: Consequence) -> Sequence[str]:
    """Return the sentences of those that lead to this consequence."""
    return [finding.detail for finding in findings if _consequence(finding) is consequence]


def _consequence(finding: Finding) -> Consequence:
    match finding.verdict:
        case Verdict.FAILED:
            return _OF_FAILURE[finding.check]
        case Verdict.PENDING:
            return Consequence.WAIT
        case _:
            return Consequence.USE
