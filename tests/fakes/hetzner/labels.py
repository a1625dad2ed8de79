"""Label selectors as the API reads them: `k`, `!k`, `k=v`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, commas."""

import re
from collections.abc import Mapping

from tests.fakes.hetzner.errors import invalid

_TERM = re.compile(
    r"\s*(?:(?P<absent>!)?(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]*)"
    r"(?:\s*(?P<compare>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)|\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Return whether the labels fit; raise invalid_input for a selector that is none."""
    position, fitting = 0, True
    while position < len(selector):
        term = _TERM.match(selector, position)
        if term is None:
            raise invalid("label_selector", "is invalid")
        fitting = fitting and _holds(term, labels)
        position = term.end()
    return fitting


def _holds(term: re.Match[str], labels: Mapping[str, str]) -> bool:
    value = labels.get(term["key"])
    if term["set"]:
        listed = value in [each.strip() for each in term["values"].split(",")]
        return listed if term["set"] == "in" else not listed
    if term["compare"]:
        return (value != term["value"]) if term["compare"] == "!=" else (value == term["value"])
    return (value is None) if term["absent"] else (value is not None)
