"""What findings about a server's IPv6 address mean: pure. None keeps the server from use, for mail goes out over IPv4.

It goes out over IPv6 as well where the address is fit for that beyond doubt: its PTR and the server's name name each
other, and no list has it. Large receivers refuse all mail from an IPv6 address without a name (Google's sender
guidelines, 5.7.25), and take what one has sent amiss for its whole /64.
"""

from collections.abc import Iterable
from dataclasses import replace

from control_plane.preflight.findings import Check, Finding, Verdict

_CHECKS = {Check.REVERSE_DNS: Check.REVERSE_DNS_V6, Check.BLOCKLIST: Check.BLOCKLIST_V6}


def of_ipv6(finding: Finding) -> Finding:
    """Return what was found about an IPv6 address as no more than a warning, which says what follows.

    What could not be found out just now is not waited for.
    """
    check = _CHECKS[finding.check]
    match finding.verdict:
        case Verdict.WARNED | Verdict.FAILED:
            return Finding(check, finding.about, Verdict.WARNED, f"{finding.detail}; nothing is sent over IPv6")
        case Verdict.PENDING:
            return replace(finding, check=check, verdict=Verdict.UNKNOWN)
        case _:
            return replace(finding, check=check)


def may_send_over_ipv6(findings: Iterable[Finding]) -> bool | None:
    """Return whether the server's IPv6 address is named, and nothing is held against it.

    None where nobody can tell whether it is named: then it stays as it was.
    """
    about_it = [finding for finding in findings if finding.check in _CHECKS.values()]
    if any(finding.verdict is Verdict.WARNED for finding in about_it):
        return False
    named = (each.verdict is Verdict.PASSED for each in about_it if each.check is Check.REVERSE_DNS_V6)
    return True if any(named) else None
