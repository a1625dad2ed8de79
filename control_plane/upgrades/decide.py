"""What to do next about a plan: pure, from how it stands and what its servers tell.

    ring 0, the canaries -> ring 1, a tenth -> ring 2, all
    any ring: a gate fails -> rolling back -> rolled back

Servers are told, and told again, until what they report shows that they have heard; a word that comes twice changes
nothing. With a release, a server's own unit goes back unless it is confirmed, and nothing is confirmed once a gate has
failed.
"""

import datetime as dt
import enum
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from control_plane.upgrades.check_gate import CONFIGURATION, Failing, lasting
from control_plane.upgrades.delivery_gate import (
    NO_HAND_OVERS,
    NONE,
    HandOvers,
    Outcomes,
    handed_over_together,
    refuses,
    together,
    worse,
)
from control_plane.upgrades.process_gate import UNKNOWN, Process, ailing
from control_plane.upgrades.states import PlanState, ServerState

#: Until the same server is told the same once more.
TELL_AGAIN = dt.timedelta(seconds=30)
CONFIRM_AGAIN = dt.timedelta(seconds=5)
#: A download and an installation, besides twice the time that the new release gets to link.
_INSTALLATION = dt.timedelta(minutes=10)
#: By which a server's clock may be behind ours.
_CLOCKS = dt.timedelta(seconds=15)
#: The share of a ring's servers that may fail, rounded down; of canaries none.
_MAY_FAIL = 0.02


class Word(enum.Enum):
    """What a server is told."""

    UPGRADE = "upgrade"
    CONFIRM = "confirm"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Told:
    """What a server last said of what it was told (payloads.py); `at` by its clock."""

    payload: str
    state: str
    reason: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server of a plan; `since` is when its state here began, `told_at` when it was last told something."""

    vps_id: uuid.UUID
    ring: int
    state: ServerState
    since: dt.datetime
    told_at: dt.datetime | None
    running: str | None
    reachable: bool
    heard_at: dt.datetime | None
    told: Told | None = None
    #: Checks that fail, but for those that did when it was told to upgrade and were never well since.
    failing: tuple[Failing, ...] = ()
    #: It has refused a configuration since it was told to upgrade, or gone back from one.
    refuses: bool = False
    past: Outcomes = NONE
    lately: Outcomes = NONE
    past_hand_overs: HandOvers = NO_HAND_OVERS
    hand_overs: HandOvers = NO_HAND_OVERS
    past_process: Process = UNKNOWN
    process: Process = UNKNOWN


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan to bring a payload to servers; `ring_since` is when all servers of the ring had it."""

    payload: str
    state: PlanState
    ring: int
    rings: int
    ring_since: dt.datetime | None
    soak: dt.timedelta
    patience: dt.timedelta
    minimum_sends: int
    reason: str = ""
    #: A server leaves it again unless it is confirmed.
    goes_back_by_itself: bool = True

    @property
    def give_up(self) -> dt.timedelta:
        """How long a server may take for what it was told."""
        return 2 * self.patience + _INSTALLATION


@dataclass(frozen=True, slots=True)
class Move:
    """A server's new state."""

    vps_id: uuid.UUID
    state: ServerState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan as it is from now on, what to tell whom, and which servers' states change."""

    plan: Plan
    words: tuple[tuple[uuid.UUID, Word], ...] = ()
    moves: tuple[Move, ...] = ()


@dataclass(slots=True)
class _Round:
    """What is gathered while servers are looked at one by one."""

    words: list[tuple[uuid.UUID, Word]] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)

    def decision(self, plan: Plan) -> Decision:
        return Decision(plan, tuple(self.words), tuple(self.moves))


def decide(plan: Plan, servers: Sequence[ServerFacts], now: dt.datetime) -> Decision:
    """Return what to do now. A plan that is not under way stays as it is."""
    match plan.state:
        case PlanState.RUNNING:
            return _advance(plan, servers, now)
        case PlanState.ROLLING_BACK:
            return _retreat(plan, servers, now)
    return Decision(plan)


# ------------------------------------------------------------ forth


def _advance(plan: Plan, servers: Sequence[ServerFacts], now: dt.datetime) -> Decision:
    round_ = _Round()
    members = [_step(plan, each, now, round_) for each in servers if each.ring <= plan.ring]
    if reason := _gate(plan, members, now):
        # Nobody is told anything any more but to go back: who would have been asked now still waits.
        moves = tuple(move for move in round_.moves if move.state is not ServerState.ASKED)
        return Decision(replace(plan, state=PlanState.ROLLING_BACK, reason=reason), (), moves)
    return round_.decision(_next_ring(plan, members, now))


def _step(plan: Plan, server: ServerFacts, now: dt.datetime, round_: _Round) -> ServerFacts:
    """Say what is to be done about one server, and return it as it is after."""
    move: Move | None = None
    match server.state:
        case ServerState.WAITING if server.running == plan.payload:
            move = Move(server.vps_id, ServerState.INSTALLED)
        case ServerState.WAITING if server.reachable:
            move = Move(server.vps_id, ServerState.ASKED)
            round_.words.append((server.vps_id, Word.UPGRADE))
        case ServerState.ASKED:
            move = _asked(plan, server, now, round_)
        case ServerState.INSTALLED if server.reachable and server.running != plan.payload:
            move = Move(server.vps_id, ServerState.FAILED, f"it runs {server.running} again")
    if move is None:
        return server
    round_.moves.append(move)
    return replace(server, state=move.state, since=now)


def _asked(plan: Plan, server: ServerFacts, now: dt.datetime, round_: _Round) -> Move | None:
    told = _news(plan, server)
    if told is not None and told.state in {"refused", "rolled_back"}:
        return Move(server.vps_id, ServerState.FAILED, f"{told.state.replace('_', ' ')}: {told.reason}")
    runs = server.reachable and server.running == plan.payload
    if runs and told is not None and told.state == "installed":
        return Move(server.vps_id, ServerState.INSTALLED)
    if now - server.since > plan.give_up:
        return Move(server.vps_id, ServerState.FAILED, "nothing came of it in time")
    if runs and told is not None and told.state == "watching" and _due(server, now, CONFIRM_AGAIN):
        round_.words.append((server.vps_id, Word.CONFIRM))
    elif told is None and server.reachable and _due(server, now, TELL_AGAIN):
        round_.words.append((server.vps_id, Word.UPGRADE))
    return None


def _gate(plan: Plan, members: Sequence[ServerFacts], now: dt.datetime) -> str:
    """Return why the plan must not go on, or an empty sentence."""
    for ring in range(plan.ring + 1):
        inside = [each for each in members if each.ring == ring]
        ills = [ill for each in inside if (ill := _ill(plan, each, now))]
        if len(ills) > _may_fail(ring, inside):
            return f"{len(ills)} of {len(inside)} servers of ring {ring} failed; one: {ills[0]}"
        installed = [each for each in inside if each.state is ServerState.INSTALLED]
        if sentence := _deliver_worse(installed, plan.minimum_sends):
            return f"ring {ring} delivers worse: {sentence}"
    return ""


def _may_fail(ring: int, inside: Sequence[ServerFacts]) -> int:
    return 0 if ring == 0 else int(len(inside) * _MAY_FAIL)


def _deliver_worse(servers: Sequence[ServerFacts], minimum: int) -> str:
    past, lately = together(each.past for each in servers), together(each.lately for each in servers)
    before = handed_over_together(each.past_hand_overs for each in servers)
    return worse(past, lately, minimum) or refuses(before, handed_over_together(each.hand_overs for each in servers))


def _ill(plan: Plan, server: ServerFacts, now: dt.datetime) -> str:
    if server.state is ServerState.FAILED:
        return f"{server.vps_id} failed"
    if server.state is not ServerState.INSTALLED:
        return ""
    if server.heard_at is None or now - server.heard_at > max(plan.patience, dt.timedelta(minutes=1)):
        return f"{server.vps_id} was not heard of"
    if failing := [*lasting(server.failing, server.since), *([CONFIGURATION] if server.refuses else [])]:
        return f"{server.vps_id}: {', '.join(failing)}"
    if sentence := ailing(server.past_process, server.process):
        return f"{server.vps_id}: {sentence}"
    return ""


def _next_ring(plan: Plan, members: Sequence[ServerFacts], now: dt.datetime) -> Plan:
    last = plan.ring + 1 >= plan.rings
    held = [each for each in members if not (_settled(each) or (_away(each) and not last))]
    installed = [each for each in members if each.ring == plan.ring and each.state is ServerState.INSTALLED]
    if held or not installed:
        return replace(plan, ring_since=None)
    since = plan.ring_since or now
    enough = 0 < plan.minimum_sends <= together(each.lately for each in installed).attempts
    if (not enough and now - since < plan.soak) or _may_yet_fail(plan, members, now):
        return replace(plan, ring_since=since)
    if last:
        return replace(plan, state=PlanState.DONE)
    return replace(plan, ring=plan.ring + 1, ring_since=None)


def _may_yet_fail(plan: Plan, members: Sequence[ServerFacts], now: dt.datetime) -> bool:
    """Whether the gate would fail if checks that fail, and have not for long, went on to."""
    for ring in range(plan.ring + 1):
        inside = [each for each in members if each.ring == ring]
        in_doubt = [each for each in inside if _fails_now(each) or _ill(plan, each, now)]
        if len(in_doubt) > _may_fail(ring, inside):
            return True
    return False


def _fails_now(server: ServerFacts) -> bool:
    return server.state is ServerState.INSTALLED and bool(server.failing)


def _settled(server: ServerFacts) -> bool:
    return server.state in {ServerState.INSTALLED, ServerState.FAILED}


def _away(server: ServerFacts) -> bool:
    """Whether it is upgraded whenever it comes back, and nobody waits for it until the last ring."""
    return server.state is ServerState.WAITING and not server.reachable


# ------------------------------------------------------------ back


def _retreat(plan: Plan, servers: Sequence[ServerFacts], now: dt.datetime) -> Decision:
    round_ = _Round()
    moves = list(_moves_back(plan, servers, now, round_))
    round_.moves.extend(moves)
    after = {each.vps_id: each.state for each in servers} | {move.vps_id: move.state for move in moves}
    over = not set(after.values()) & {ServerState.ASKED, ServerState.INSTALLED, ServerState.REVERTING}
    return round_.decision(replace(plan, state=PlanState.ROLLED_BACK) if over else plan)


def _moves_back(plan: Plan, servers: Sequence[ServerFacts], now: dt.datetime, round_: _Round) -> Iterator[Move]:
    for server in servers:
        told = _news(plan, server)
        gave_up = now - server.since > plan.give_up
        match server.state:
            case ServerState.ASKED if not plan.goes_back_by_itself:
                round_.words.append((server.vps_id, Word.ROLL_BACK))
                yield Move(server.vps_id, ServerState.REVERTING)
            case ServerState.ASKED if told is not None and told.state in {"refused", "rolled_back"}:
                yield Move(server.vps_id, ServerState.REVERTED, told.reason)
            case ServerState.ASKED if gave_up:
                yield Move(server.vps_id, ServerState.FAILED, "it was not heard of")
            case ServerState.ASKED if told is None or told.state != "installed":
                # Unless it is confirmed it goes back by itself.
                pass
            case ServerState.ASKED | ServerState.INSTALLED:
                round_.words.append((server.vps_id, Word.ROLL_BACK))
                yield Move(server.vps_id, ServerState.REVERTING)
            case ServerState.REVERTING if told is not None and told.state == "rolled_back" and _left(plan, server):
                yield Move(server.vps_id, ServerState.REVERTED, told.reason)
            case ServerState.REVERTING if gave_up or (told is not None and told.state == "refused"):
                yield Move(server.vps_id, ServerState.FAILED, told.reason if told else "it was not heard of")
            case ServerState.REVERTING if server.reachable and _due(server, now, TELL_AGAIN):
                round_.words.append((server.vps_id, Word.ROLL_BACK))


def _left(plan: Plan, server: ServerFacts) -> bool:
    return server.reachable and server.running != plan.payload


def _news(plan: Plan, server: ServerFacts) -> Told | None:
    """Return what the server says of this change, and not of an earlier one to the same release."""
    told = server.told
    if told is None or told.payload != plan.payload or told.at < server.since - _CLOCKS:
        return None
    return told


def _due(server: ServerFacts, now: dt.datetime, gap: dt.timedelta) -> bool:
    return server.told_at is None or now - server.told_at >= gap
