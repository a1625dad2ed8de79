"""DMARC policy records as RFC 9989 has them: read one. Pure.

The tags `pct`, `rf` and `ri` of RFC 7489 are gone; in a customer's record they are passed over like any unknown tag.
"""

from dataclasses import dataclass
from types import MappingProxyType

POLICIES = frozenset({"none", "quarantine", "reject"})
_CHOICES = MappingProxyType(
    {
        "p": POLICIES,
        "sp": POLICIES,
        "np": POLICIES,
        "adkim": frozenset({"r", "s"}),
        "aspf": frozenset({"r", "s"}),
        "psd": frozenset({"y", "n", "u"}),
        "t": frozenset({"y", "n"}),
    }
)
_FAILURE_OPTIONS = frozenset({"0", "1", "d", "s"})
_REPORT_TAGS = ("rua", "ruf")


class DmarcBroken(ValueError):
    """Receivers pass the record over; the message says why."""


@dataclass(frozen=True, slots=True)
class Dmarc:
    """A record that counts; `policy` is what it asks of receivers for the domain itself."""

    policy: str
    aggregate_reports: tuple[str, ...]


def parse_dmarc(value: str) -> Dmarc:
    """Read a TXT value; raise `DmarcBroken`.

    A record without `p` that asks for reports is one with `p=none`; without both it says nothing.
    """
    tags = _tags(value)
    if next(iter(tags.items()), None) != ("v", "DMARC1"):
        raise DmarcBroken("it does not begin with v=DMARC1")
    for name, choices in _CHOICES.items():
        if name in tags and tags[name].lower() not in choices:
            raise DmarcBroken(f"{name}={tags[name]} means nothing")
    if "fo" in tags and not {part.strip() for part in tags["fo"].lower().split(":")} <= _FAILURE_OPTIONS:
        raise DmarcBroken(f"fo={tags['fo']} means nothing")
    reports = {name: _addresses(tags[name]) for name in _REPORT_TAGS if name in tags}
    if "p" not in tags and not reports.get("rua"):
        raise DmarcBroken("it has neither p nor rua")
    return Dmarc(tags.get("p", "none").lower(), reports.get("rua", ()))


def _tags(value: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in filter(str.strip, value.split(";")):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        if not name or not equals or name in tags:
            raise DmarcBroken("its tags are not name=value, each once")
        tags[name] = text
    return tags


def _addresses(value: str) -> tuple[str, ...]:
    uris = tuple(part.strip() for part in value.split(","))
    if not all(":" in uri and uri.partition(":")[2] for uri in uris):
        raise DmarcBroken(f"{value} is no list of addresses as mailto:name@domain")
    return uris
