"""When a check that is not well is worth an alert: rules as data, those that are shipped in alert_rules.json. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.monitoring.states import Check, InstallationCheck, State

SHIPPED = Path(__file__).with_name("alert_rules.json")
SEVERITIES = ("notice", "warning", "critical")
_CHECKS: Mapping[str, Check | InstallationCheck] = {each.value: each for each in (*Check, *InstallationCheck)}


@dataclass(frozen=True, slots=True)
class Rule:
    """A check in one of `states` for so many seconds opens an alert; well for so many, it is resolved.

    While it holds, what rules of the names in `hides` would say has the same cause, and is not said.
    """

    name: str
    check: Check | InstallationCheck
    states: frozenset[State]
    for_seconds: float
    well_seconds: float
    severity: str
    hides: frozenset[str]


def read_rules(file: Path | None = None) -> Sequence[Rule]:
    """Return the rules of a file, or those shipped. Raises `OSError` and `ValueError` for one that is no good."""
    path = file or SHIPPED
    try:
        rules = [_rule(each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} does not hold rules: {error}") from error
    names = [rule.name for rule in rules]
    unknown = {name for rule in rules for name in rule.hides} - set(names)
    if len(set(names)) < len(names) or unknown:
        raise ValueError(f"{path.name} names a rule twice, or hides what there is not: {sorted(unknown)}")
    return rules


def _rule(fields: dict[str, Any]) -> Rule:
    rule = Rule(
        name=str(fields["name"]),
        check=_CHECKS[fields["check"]],
        states=frozenset(map(State, fields["states"])),
        for_seconds=float(fields["for_seconds"]),
        well_seconds=float(fields["well_seconds"]),
        severity=str(fields["severity"]),
        hides=frozenset(fields["hides"]),
    )
    if rule.severity not in SEVERITIES or rule.for_seconds < 0 or rule.well_seconds < 0 or State.OK in rule.states:
        raise ValueError(f"the rule {rule.name} makes no sense")
    return rule
