"""The life of an alert, from one look at a server, or at the installation, to the next. Pure.

| state | meaning | becomes |
| --- | --- | --- |
| `pending` | not well, not yet for long enough | `open`, or is forgotten when it is well again |
| `open` | somebody should look | `acknowledged` by a person, `resolved` when it was well for long enough |
| `acknowledged` | somebody looks | `resolved` likewise |
| `resolved` | over | nothing; the next is another alert |
"""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from control_plane.monitoring.alert_rules import Rule
from control_plane.monitoring.states import Check, Finding, InstallationCheck, State

_Found = Mapping[Check | InstallationCheck, Finding]

#: For which a mail server may stand still while a plan changes its packages before somebody is told: dpkg's work takes
#: seconds, most of a minute on a busy server, and as long again where it goes back.
CHANGE_LASTS = dt.timedelta(minutes=2)


class AlertState(enum.StrEnum):
    """`alerts.state`."""

    PENDING = "pending"
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert of one rule about one server, or about the installation, that is not over."""

    rule: str
    severity: str
    state: AlertState
    sentence: str
    since: dt.datetime
    opened_at: dt.datetime | None = None
    well_since: dt.datetime | None = None
    resolved_at: dt.datetime | None = None


def advance(
    rules: Sequence[Rule],
    findings: Sequence[Finding],
    standing: Mapping[str, Standing],
    now: dt.datetime,
    changed_until: dt.datetime | None = None,
) -> dict[str, Standing | None]:
    """Return what becomes of the alerts of one server, or of the installation, by rule; None for one that is forgotten.

    `changed_until` is until when a plan changed its mail packages lately, now while one does: what such a mail server
    is told of begins then, and no later than `CHANGE_LASTS` after it stood still.
    What is hidden by its cause, or was not found out, neither begins nor ends: nobody can tell how it is.
    """
    found = {finding.check: finding for finding in findings}
    bad = {rule.name for rule in rules if _is_bad(rule, found)}
    hidden = {name for rule in rules if rule.name in bad for name in rule.hides}
    after: dict[str, Standing | None] = {}
    for rule in rules:
        before = standing.get(rule.name)
        if rule.name in hidden or not _is_known(rule, found):
            if before is not None and before.state is AlertState.PENDING:
                after[rule.name] = None
        elif rule.name in bad:
            alert = _worse(rule, before, found[rule.check].sentence, now)
            begins = _excused_until(alert, changed_until) if rule.check is Check.MAIL_SERVER else alert.since
            after[rule.name] = _opened(rule, alert, begins, now)
        elif before is not None:
            after[rule.name] = _better(rule, before, now)
    known = {rule.name for rule in rules}
    over = {name: _resolved(each, now) for name, each in standing.items() if name not in known}
    return after | over


def _is_bad(rule: Rule, found: _Found) -> bool:
    return rule.check in found and found[rule.check].state in rule.states


def _is_known(rule: Rule, found: _Found) -> bool:
    return rule.check in found and found[rule.check].state is not State.UNKNOWN


def _worse(rule: Rule, before: Standing | None, sentence: str, now: dt.datetime) -> Standing:
    alert = before or Standing(rule.name, rule.severity, AlertState.PENDING, sentence, since=now)
    return replace(alert, sentence=sentence, severity=rule.severity, well_since=None)


def _excused_until(alert: Standing, changed_until: dt.datetime | None) -> dt.datetime:
    return max(alert.since, min(changed_until or alert.since, alert.since + CHANGE_LASTS))


def _opened(rule: Rule, alert: Standing, begins: dt.datetime, now: dt.datetime) -> Standing:
    if alert.state is AlertState.PENDING and (now - begins).total_seconds() >= rule.for_seconds:
        return replace(alert, state=AlertState.OPEN, opened_at=now)
    return alert


def _better(rule: Rule, before: Standing, now: dt.datetime) -> Standing | None:
    if before.state is AlertState.PENDING:
        return None
    well_since = before.well_since or now
    if (now - well_since).total_seconds() >= rule.well_seconds:
        return _resolved(before, now)
    return replace(before, well_since=well_since)


def _resolved(before: Standing, now: dt.datetime) -> Standing:
    return replace(before, state=AlertState.RESOLVED, resolved_at=now)
