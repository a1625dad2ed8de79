"""SPF records (RFC 7208): read one, fit our servers into one that is there, take them out again. Pure.

What a record costs in look-ups is in spf_cost.py.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

VERSION = "v=spf1"

#: Mechanisms that cost a look-up (section 4.6.4); of the modifiers, redirect does.
ASKING = frozenset({"include", "a", "mx", "ptr", "exists"})
_NEED_DOMAIN = frozenset({"include", "exists"})
_WITH_PREFIX = frozenset({"a", "mx"})
_MECHANISMS = ASKING | {"all", "ip4", "ip6"}

_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z0-9]+)(?::([^/]*(?:/(?!\d|/\d)[^/]*)*))?(/\d+)?(//\d+)?")
_IP4 = re.compile(r"([+?~-]?)ip4:([0-9.]+)(?:/(\d+))?", re.IGNORECASE)
_IP6 = re.compile(r"([+?~-]?)ip6:([0-9a-f:.]+)(?:/(\d+))?", re.IGNORECASE)
# Section 7.1: what a macro may be. Other visible characters stand for themselves.
_MACRO_STRING = re.compile(r"(?:%\{[slodiphcrtvSLODIPHCRTV]\d*[rR]?[.\-+,/_=]*\}|%%|%_|%-|[!-$&-~])*")
_DOMAIN_END = re.compile(r"(?:.*\.)?(?=[A-Za-z0-9-]*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?|.*%\{[^}]*\}")


class SpfBroken(ValueError):
    """The record is not valid, so every receiver answers permerror; the message says where."""


@dataclass(frozen=True, slots=True)
class Term:
    """One mechanism or modifier; `text` as it was written.

    `qualifier` is one of `+ ? ~ -`, or `=` for a modifier. `domain` is what it names, or empty for the domain itself.
    """

    text: str
    qualifier: str
    name: str
    domain: str = ""
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class Spf:
    """A valid record."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " ".join([VERSION, *(term.text for term in self.terms)])

    @property
    def evaluated(self) -> tuple[Term, ...]:
        """The terms that can matter: mechanisms up to `all`, then redirect if there is no `all` (section 6.1)."""
        reached: list[Term] = []
        for term in self.terms:
            if term.qualifier != "=":
                reached.append(term)
                if term.name == "all":
                    return tuple(reached)
        return (*reached, *(term for term in self.terms if (term.qualifier, term.name) == ("=", "redirect")))

    @property
    def passes_everybody(self) -> bool:
        """Whether it says that any server may send for the domain."""
        return any(
            term.qualifier == "+" and (term.name == "all" or (term.network is not None and term.network.prefixlen == 0))
            for term in self.evaluated
        )

    def passes(self, address: str) -> bool:
        """Return whether an address passes by what the record itself says, without asking anybody."""
        wanted = ipaddress.ip_address(address)
        for term in self.evaluated:
            if term.name == "all" or (term.network is not None and wanted in term.network):
                return term.qualifier == "+"
        return False


def is_spf(value: str) -> bool:
    """Return whether a TXT value is an SPF record at all (section 4.5)."""
    return value.lower() == VERSION or value.lower().startswith(f"{VERSION} ")


def parse_spf(value: str) -> Spf:
    """Read a TXT value; raise `SpfBroken`."""
    if not is_spf(value):
        raise SpfBroken(f"it does not begin with {VERSION} and a space")
    terms = tuple(_term(word) for word in value[len(VERSION) :].split(" ") if word)
    for name in ("redirect", "exp"):
        if sum((term.qualifier, term.name) == ("=", name) for term in terms) > 1:
            raise SpfBroken(f"{name}= may be there once")
    return Spf(terms)


def addresses_of(value: str) -> tuple[str, ...]:
    """Return the single addresses that a record passes, in its order; raise `SpfBroken`."""
    terms = parse_spf(value).terms
    return tuple(
        str(term.network.network_address)
        for term in terms
        if term.qualifier == "+" and term.network is not None and term.network.num_addresses == 1
    )


def mechanism_for(address: str) -> str:
    """Return the mechanism that names one address, of either version (RFC 7208, section 5.6)."""
    return f"ip{ipaddress.ip_address(address).version}:{address}"


def with_addresses(theirs: Spf, addresses: Iterable[str]) -> Spf:
    """Return the record with each address that does not pass yet put first, where nothing can refuse it before."""
    added = (_term(mechanism_for(address)) for address in addresses if not theirs.passes(address))
    return Spf((*added, *theirs.terms))


def without_added(present: Spf, before: Spf, after: Spf) -> Spf:
    """Return a record without what `after` has more than `before`: what we put in is taken out, the rest stays.

    We put ours in front, so of terms that are the same the first is ours; theirs may stand behind an `all`.
    """
    ours = _texts(after.terms) - _texts(before.terms)
    kept: list[Term] = []
    for term in present.terms:
        if ours[term.text.lower()] > 0:
            ours[term.text.lower()] -= 1
        else:
            kept.append(term)
    return Spf(tuple(kept))


def _texts(terms: Iterable[Term]) -> Counter[str]:
    return Counter(term.text.lower() for term in terms)


def _term(word: str) -> Term:
    if not word.isascii() or not word.isprintable():
        raise SpfBroken(f"{word!r} has characters that no SPF record may have")
    modifier = _MODIFIER.fullmatch(word)
    if modifier:
        return _modifier(word, modifier[1].lower(), modifier[2])
    for pattern, version in ((_IP4, 4), (_IP6, 6)):
        if re.match(rf"[+?~-]?ip{version}(?:[:/]|$)", word, re.IGNORECASE):
            return _address(word, pattern.fullmatch(word), version)
    return _mechanism(word)


def _modifier(word: str, name: str, value: str) -> Term:
    if name in {"redirect", "exp"}:
        _require_domain(word, value)
    elif not _MACRO_STRING.fullmatch(value):
        raise SpfBroken(f"{word} is not a modifier")
    return Term(word, "=", name, value)


def _address(word: str, match: re.Match[str] | None, version: int) -> Term:
    if match is None:
        raise SpfBroken(f"{word} names no IPv{version} address")
    qualifier, address, prefix = match.groups()
    _require_prefix(word, prefix, 32 if version == 4 else 128)
    network = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    try:
        parsed = network(f"{address}/{prefix}" if prefix else address, strict=False)
    except ValueError:
        raise SpfBroken(f"{word} names no IPv{version} address") from None
    return Term(word, qualifier or "+", f"ip{version}", address, parsed)


def _mechanism(word: str) -> Term:
    match = _MECHANISM.fullmatch(word)
    if match is None or match[2].lower() not in _MECHANISMS:
        raise SpfBroken(f"{word} is no mechanism of SPF")
    qualifier, name, domain, prefix4, prefix6 = match.groups()
    name = name.lower()
    if (prefix4 or prefix6) and name not in _WITH_PREFIX:
        raise SpfBroken(f"{word} may have no prefix length")
    _require_prefix(word, prefix4 and prefix4[1:], 32)
    _require_prefix(word, prefix6 and prefix6[2:], 128)
    if domain is None and name in _NEED_DOMAIN:
        raise SpfBroken(f"{word} names no domain")
    if domain is not None:
        if name == "all":
            raise SpfBroken(f"{word}: all stands alone")
        _require_domain(word, domain)
    return Term(word, qualifier or "+", name, domain or "")


def _require_prefix(word: str, prefix: str | None, longest: int) -> None:
    if prefix and (len(prefix) > 3 or int(prefix) > longest or (prefix[0] == "0" and prefix != "0")):
        raise SpfBroken(f"{word} has a prefix length that does not exist")


def _require_domain(word: str, domain: str) -> None:
    if not _MACRO_STRING.fullmatch(domain) or not _DOMAIN_END.fullmatch(domain):
        raise SpfBroken(f"{word} does not name a domain")
