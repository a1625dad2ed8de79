"""What is to be done about servers that are not well. Pure.

An act is `asked` of its server and ends `done` or `failed`; or it is `standing` until it is `ended`. Of what a rule's
budget does not allow any more, and of all that is done, somebody is told.
"""

import datetime as dt
import enum
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from control_plane.healing.rules import COMMANDS, ONCE, HealingAct, Rule

BUDGET_TIME = dt.timedelta(hours=1)


class ActState(enum.StrEnum):
    """`healing_acts.state`."""

    ASKED = "asked"
    STANDING = "standing"
    DONE = "done"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule's condition on one server, since `began_at` and not over yet; `bad_since` when it holds now."""

    began_at: dt.datetime
    bad_since: dt.datetime | None
    well_since: dt.datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Server:
    """A server with its conditions by rule, and the names of rules that are forbidden there."""

    vps_id: uuid.UUID
    is_linked: bool
    conditions: Mapping[str, Condition]
    forbidden: frozenset[str]
    #: Until when a plan changed its mail packages lately; now while one does.
    changed_until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """An act that was begun: `ended_at` is when it was done, failed or ended."""

    id: uuid.UUID
    vps_id: uuid.UUID
    rule: str
    state: ActState
    began_at: dt.datetime
    ended_at: dt.datetime | None = None
    by_operator: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    """Do what the rule says."""

    vps_id: uuid.UUID
    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """Take back what stands."""

    act_id: uuid.UUID
    why: str


@dataclass(frozen=True, slots=True)
class Spent:
    """The rule would have its act done once more, and its budget is spent: a person must look."""

    vps_id: uuid.UUID
    rule: Rule
    reason: str


Move = Begin | End | Spent


def advance(
    before: Condition | None, rule: Rule, *, bad: bool | None, well: bool | None, reason: str, now: dt.datetime
) -> Condition | None:
    """Return how a condition stands after a look, None when it is over; what is None could not be told."""
    if bad:
        since = before.bad_since if before and before.bad_since else now
        return Condition(before.began_at if before else now, since, None, reason)
    if before is None:
        return None
    well_since = (before.well_since or now) if well else None
    if well_since and (now - well_since).total_seconds() >= rule.well_seconds:
        return None
    return Condition(before.began_at, None, well_since, before.reason)


def decide(rules: Sequence[Rule], servers: Sequence[Server], history: Sequence[Past], now: dt.datetime) -> list[Move]:
    """Return what to do now: of each server at most one act is begun, and none while another is under way."""
    moves: list[Move] = []
    past: dict[uuid.UUID, list[Past]] = {server.vps_id: [] for server in servers}
    for act in history:
        past.setdefault(act.vps_id, []).append(act)
    known = {rule.name for rule in rules}
    for server in servers:
        of_server = past[server.vps_id]
        moves += _ends(known, server, of_server)
        if not any(act.state is ActState.ASKED for act in of_server):
            moves += _begins(rules, server, of_server, now)
    return moves


def _ends(known: set[str], server: Server, past: Sequence[Past]) -> list[Move]:
    ends: list[Move] = []
    for act in past:
        if act.state is not ActState.STANDING:
            continue
        if act.rule not in known or act.rule in server.forbidden:
            ends.append(End(act.id, "its rule is forbidden here, or is gone"))
        elif act.rule not in server.conditions:
            ends.append(End(act.id, "it has been well for long enough"))
    return ends


def _begins(rules: Sequence[Rule], server: Server, past: Sequence[Past], now: dt.datetime) -> list[Move]:
    spent: list[Move] = []
    for rule in rules:
        condition = server.conditions.get(rule.name)
        own = [act for act in past if act.rule == rule.name]
        if condition is None or not _is_due(rule, server, condition, own, now):
            continue
        if sum(act.began_at > now - BUDGET_TIME for act in own) >= rule.budget:
            spent.append(Spent(server.vps_id, rule, condition.reason))
            continue
        return [*spent, Begin(server.vps_id, rule, condition.reason)]
    return spent


def _is_due(rule: Rule, server: Server, condition: Condition, own: Sequence[Past], now: dt.datetime) -> bool:
    """Whether it has held for long enough, also since it was last acted on, and may and can be acted on."""
    # What happens whether it is forbidden or not is written down all the same.
    if condition.bad_since is None or (rule.name in server.forbidden and rule.act not in ONCE):
        return False
    if rule.act in COMMANDS and not server.is_linked:
        return False
    if any(act.state is ActState.STANDING for act in own):
        return False
    # What an operator took back is not done again before it was well in between.
    if any(act.began_at >= condition.began_at and (act.by_operator or rule.act in ONCE) for act in own):
        return False
    moments = [condition.bad_since, *(act.ended_at or act.began_at for act in own)]
    # Whoever changes packages stops and starts services, watches them, and goes back by itself.
    if rule.act is HealingAct.RESTART_MAIL_SERVER and server.changed_until:
        moments.append(server.changed_until)
    return (now - max(moments)).total_seconds() >= rule.for_seconds
