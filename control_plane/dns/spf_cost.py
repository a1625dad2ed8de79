"""What a receiver has to ask to evaluate an SPF record (RFC 7208, section 4.6.4): at most 10 look-ups, 2 of them empty.

Counted for the message that costs most, one that no mechanism matches. A name with macros depends on the message: it
counts and is not followed. A name whose servers do not answer counts too, and is named in `unknown`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from control_plane.dns.problems import Problem
from control_plane.dns.resolve import NoAnswer
from control_plane.dns.spf import ASKING, Spf, SpfBroken, Term, is_spf, parse_spf

MOST_LOOKUPS = 10
MOST_VOID_LOOKUPS = 2

#: Asks for one RRset: a name and a type to values as `resolve.values_of` gives them. Raises `NoAnswer`.
Ask = Callable[[str, str], Awaitable[tuple[str, ...]]]


@dataclass(slots=True)
class SpfCost:
    """What was counted, as far as it was counted: nothing is asked once a limit is passed."""

    lookups: int = 0
    void_lookups: int = 0
    #: What makes the whole a permerror, in something that is included.
    broken: str | None = None
    unknown: list[str] = field(default_factory=list)

    @property
    def fault(self) -> tuple[Problem, str] | None:
        """What is wrong, with what was found."""
        if self.broken:
            return Problem.SPF_SYNTAX, self.broken
        if self.lookups > MOST_LOOKUPS:
            return Problem.SPF_TOO_MANY_LOOKUPS, f"the SPF record needs more than {MOST_LOOKUPS} look-ups"
        if self.void_lookups > MOST_VOID_LOOKUPS:
            return Problem.SPF_TOO_MANY_VOID_LOOKUPS, f"{self.void_lookups} names in the SPF record do not exist"
        return None


async def spf_fault(domain: str, value: str, ask: Ask) -> tuple[Problem, str] | None:
    """Return what makes a record unfit to be published, with what was found, or None when it is sound."""
    try:
        record = parse_spf(value)
    except SpfBroken as error:
        return Problem.SPF_SYNTAX, f"the SPF record is broken: {error}"
    if record.passes_everybody:
        return Problem.SPF_PASSES_EVERYBODY, "the SPF record lets every server on Earth send for the domain"
    return (await spf_cost(domain, record, ask)).fault


async def spf_cost(domain: str, record: Spf, ask: Ask) -> SpfCost:
    """Count what evaluating the domain's record asks for."""
    cost = SpfCost()
    await _count(domain, record, ask, cost)
    return cost


async def _count(domain: str, record: Spf, ask: Ask, cost: SpfCost) -> None:
    for term in record.evaluated:
        if cost.fault:
            return
        redirects = (term.qualifier, term.name) == ("=", "redirect")
        if term.name not in ASKING and not redirects:
            continue
        cost.lookups += 1
        target = term.domain or domain
        if "%" in target or cost.lookups > MOST_LOOKUPS:
            continue
        try:
            await _follow(target, term, ask, cost)
        except NoAnswer:
            cost.unknown.append(target)


async def _follow(target: str, term: Term, ask: Ask, cost: SpfCost) -> None:
    match term.name:
        case "include" | "redirect":
            await _follow_record(target, ask, cost)
        case "a" | "exists":
            # An address of either family will do for a; exists asks for IPv4 (section 5.7).
            found = await ask(target, "A") or (term.name == "a" and await ask(target, "AAAA"))
            cost.void_lookups += not found
        case "mx":
            cost.void_lookups += not await ask(target, "MX")
        case _:
            # ptr asks for the name of the client's address, which is not known here.
            return


async def _follow_record(target: str, ask: Ask, cost: SpfCost) -> None:
    found = await ask(target, "TXT")
    cost.void_lookups += not found
    records = [value for value in found if is_spf(value)]
    if len(records) != 1:
        cost.broken = f"{target}, which the SPF record names, has {len(records)} SPF records"
        return
    try:
        record = parse_spf(records[0])
    except SpfBroken as error:
        cost.broken = f"the SPF record of {target} is broken: {error}"
        return
    await _count(target, record, ask, cost)
