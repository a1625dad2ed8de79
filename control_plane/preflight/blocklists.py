"""The lists of addresses that receivers ask about, as data, and what their answers mean: RFC 5782.

A list's answer for an address is a set of IPv4 addresses in 127.0.0.0/8; which of them mean what, the list says
(`blocklists.json`, or the file of `PENGUIN_BLOCKLISTS_FILE`). Whatever is not in that table proves nothing: a list that
refuses to answer us, because we ask through a public resolver or too often, does so with such an address, and a zone
that was given up and sold answers everything. So each list is asked about two test addresses first (RFC 5782 section
5): 127.0.0.2 is listed in every list that answers us, and 127.0.0.1 in none; of those that list IPv6 addresses, too,
the same two as IPv6 has them.
"""

import enum
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from control_plane.preflight.findings import Check, Finding, Verdict

SHIPPED = Path(__file__).with_name("blocklists.json")
LISTED_EXAMPLE = "127.0.0.2"
UNLISTED_EXAMPLE = "127.0.0.1"
LISTED_EXAMPLE_V6 = "::ffff:7f00:2"
UNLISTED_EXAMPLE_V6 = "::ffff:7f00:1"
_ANSWERS = ipaddress.IPv4Network("127.0.0.0/8")


class Severity(enum.StrEnum):
    """What being listed means for an address."""

    #: It is not used.
    REFUSE = "refuse"
    #: It is used, and people are told.
    WARN = "warn"


class Blocklist(BaseModel):
    """One list. `neighbours` is how many other addresses of the /24 are asked about, evenly spread; 0 for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    zone: str = Field(pattern=r"^[0-9a-z_-]+(\.[0-9a-z_-]+)+$", max_length=200)
    severity: Severity
    #: Return code to what it says about the address.
    listed: Mapping[str, str] = Field(min_length=1)
    #: Return codes by which the list says that it does not answer us, to why.
    not_asked: Mapping[str, str] = Field(default_factory=dict)
    neighbours: int = Field(0, ge=0, le=64)
    #: Whether it is asked about IPv6 addresses, too. One answer is for all of a /64, so no neighbours are asked about.
    ipv6: bool = False
    #: Who may ask how much, in a sentence.
    rules: str = Field(min_length=1)
    #: Where an address is looked up and taken off.
    removal: str = Field(min_length=1)

    @model_validator(mode="after")
    def _codes_are_apart(self) -> "Blocklist":
        for code in (*self.listed, *self.not_asked):
            if ipaddress.IPv4Address(code) not in _ANSWERS:
                raise ValueError(f"{code} is no return code: those are in {_ANSWERS}")
        if both := set(self.listed) & set(self.not_asked):
            raise ValueError(f"{', '.join(sorted(both))} cannot mean both")
        return self


_LISTS = TypeAdapter(tuple[Blocklist, ...])


def read_blocklists(path: Path) -> tuple[Blocklist, ...]:
    """Return the lists of a file. Raises `OSError`, or `ValueError` when it is not as it should be."""
    return _LISTS.validate_json(path.read_bytes())


def question(zone: str, address: str) -> str:
    """Return the name that a list is asked for: octets or, of IPv6, nibbles backwards (RFC 5782 sections 2.1, 2.4)."""
    backwards = ipaddress.ip_address(address).reverse_pointer.rsplit(".", 2)[0]
    return f"{backwards}.{zone}"


def sample_of_network(address: str, count: int) -> tuple[str, ...]:
    """Return `count` other host addresses of an IPv4 address's /24, evenly spread; none of an IPv6 address."""
    if ":" in address:
        return ()
    network = ipaddress.IPv4Network(f"{address}/24", strict=False)
    others = [str(host) for host in network.hosts() if str(host) != address]
    return tuple(others[len(others) * place // count] for place in range(count))


def refusal_of(blocklist: Blocklist, codes: Collection[str]) -> str | None:
    """Return why these codes prove nothing, or None when they are an answer."""
    for code in sorted(codes):
        if (reason := blocklist.not_asked.get(code)) is not None:
            return reason
        if code not in blocklist.listed:
            return f"it answers {code}, which is not one of its codes"
    return None


def distrust(blocklist: Blocklist, listed_example: Collection[str], unlisted_example: Collection[str]) -> str | None:
    """Return why the list cannot be believed, or None when it answers for the test addresses as lists do."""
    if (refusal := refusal_of(blocklist, listed_example) or refusal_of(blocklist, unlisted_example)) is not None:
        return refusal
    if unlisted_example:
        return "it lists everything"
    if not listed_example:
        return "it does not answer us, or lists nothing any more"
    return None


def judge_address(blocklist: Blocklist, codes: Collection[str]) -> Finding:
    """Return what a list that can be believed says about the address itself."""
    if (refusal := refusal_of(blocklist, codes)) is not None:
        return not_asked(blocklist, refusal)
    if not codes:
        return Finding(Check.BLOCKLIST, blocklist.zone, Verdict.PASSED, f"not listed by {blocklist.name}")
    meanings = "; ".join(blocklist.listed[code] for code in sorted(codes))
    verdict = Verdict.FAILED if blocklist.severity is Severity.REFUSE else Verdict.WARNED
    detail = f"listed by {blocklist.name}: {meanings}. Look it up, and have it taken off, at {blocklist.removal}"
    return Finding(Check.BLOCKLIST, blocklist.zone, verdict, detail)


def judge_network(blocklist: Blocklist, network: str, answers: Sequence[Collection[str]]) -> Finding:
    """Return what a list says about the address's network, from answers about some of its addresses.

    One bad neighbour is no bad neighbourhood; where half of them are listed, the next to be listed is ours.
    """
    about = f"{blocklist.zone} {network}"
    known = [codes for codes in answers if refusal_of(blocklist, codes) is None]
    if len(known) < len(answers):
        return Finding(Check.BLOCKLIST, about, Verdict.UNKNOWN, f"{blocklist.name} did not answer each question")
    listed = sum(bool(codes) for codes in known)
    detail = f"{blocklist.name} lists {listed} of {len(known)} addresses asked about in {network}"
    if listed * 2 >= len(known) > 0:
        verdict = Verdict.FAILED if blocklist.severity is Severity.REFUSE else Verdict.WARNED
    else:
        verdict = Verdict.WARNED if listed else Verdict.PASSED
    return Finding(Check.BLOCKLIST, about, verdict, detail)


def not_asked(blocklist: Blocklist, reason: str) -> Finding:
    """Return that nothing is known; `rules` says what would have to be done about it."""
    detail = f"{blocklist.name} was not asked with success: {reason}. {blocklist.rules}"
    return Finding(Check.BLOCKLIST, blocklist.zone, Verdict.UNKNOWN, detail)
