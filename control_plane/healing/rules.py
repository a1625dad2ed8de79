"""What the fleet does about itself and when: rules as data, those that are shipped in rules.json. Pure."""

import enum
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.errors import InvalidInput
from control_plane.monitoring.expressions import Expression, parse
from control_plane.monitoring.states import Check, State

SHIPPED = Path(__file__).with_name("rules.json")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


class HealingAct(enum.StrEnum):
    """All that is ever done without a person."""

    RESTART_MAIL_SERVER = "restart_mail_server"
    FLUSH_QUEUE = "flush_queue"
    SHED_DISK = "shed_disk"
    #: Nothing more is leased to it until its queue has shrunk.
    HOLD_QUEUE = "hold_queue"
    #: Its inboxes send half of their daily limits.
    SLOW_SENDING = "slow_sending"
    #: Nothing is leased to it, until an operator ends that or the signal has been well.
    QUARANTINE = "quarantine"
    #: Leases that run out do it (queuer/sweep.py); here it is only written down.
    HAND_ON = "hand_on"


#: What a server is told, over its link.
COMMANDS = frozenset({HealingAct.RESTART_MAIL_SERVER, HealingAct.FLUSH_QUEUE, HealingAct.SHED_DISK})
#: What stands until it is ended.
STANDING = frozenset({HealingAct.HOLD_QUEUE, HealingAct.SLOW_SENDING, HealingAct.QUARANTINE})
#: What is written down once, however long its reason lasts, and cannot be forbidden: it happens by itself.
ONCE = frozenset({HealingAct.HAND_ON})


@dataclass(frozen=True, slots=True)
class Rule:
    """Once its condition has held for so many seconds, the act is done, at most `budget` times an hour on each server.

    The condition: `check` is in one of `states`, and `where` holds; one of the two may be missing. It is over when it
    has been well for `well_seconds`: when it is known not to hold, or, where `well` is said, when that holds.
    """

    name: str
    act: HealingAct
    check: Check | None
    states: frozenset[State]
    where: Expression | None
    well: Expression | None
    for_seconds: float
    well_seconds: float
    budget: int


def read_rules(file: Path | None = None) -> Sequence[Rule]:
    """Return the rules of a file, or those shipped; which come first, first.

    Raises `OSError` and `ValueError` for a file that is no good.
    """
    path = file or SHIPPED
    try:
        rules = [_rule(each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (KeyError, TypeError, InvalidInput) as error:
        raise ValueError(f"{path.name} does not hold rules: {error}") from error
    if len({rule.name for rule in rules}) < len(rules):
        raise ValueError(f"{path.name} names a rule twice")
    return rules


def _rule(fields: dict[str, Any]) -> Rule:
    unknown = fields.keys() - {*Rule.__slots__}
    rule = Rule(
        name=str(fields["name"]),
        act=HealingAct(fields["act"]),
        check=Check(fields["check"]) if "check" in fields else None,
        states=frozenset(map(State, fields.get("states", ()))),
        where=parse(fields["where"]) if "where" in fields else None,
        well=parse(fields["well"]) if "well" in fields else None,
        for_seconds=float(fields["for_seconds"]),
        well_seconds=float(fields["well_seconds"]),
        budget=int(fields["budget"]),
    )
    has_condition = bool(rule.states) if rule.check else rule.where is not None and not rule.states
    makes_sense = has_condition and rule.states.isdisjoint({State.OK, State.UNKNOWN}) and _NAME.fullmatch(rule.name)
    if unknown or not makes_sense or rule.for_seconds < 0 or rule.well_seconds < 0 or rule.budget < 1:
        raise ValueError(f"the rule {rule.name} makes no sense")
    return rule
