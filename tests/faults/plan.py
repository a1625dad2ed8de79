"""What one run does, drawn from its seed: the messages, how their recipients' server behaves, and the faults.

The same seed and number of messages give the same plan, so that a run that failed can be run again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Every name below it leads to the sink.
SINK_DOMAIN = "sink.example"


class Temper(StrEnum):
    """How the sink treats a recipient; a part of the recipient's domain, so that the sink needs no other word."""

    TAKES = "takes"
    #: 550 at RCPT.
    REFUSES = "refuses"
    #: 451 at RCPT, once; then it takes.
    LATER = "later"
    #: Takes and hangs up without a reply, once; then it takes.
    CUTS = "cuts"
    #: Hangs up in the middle of the message, once; then it takes.
    BREAKS = "breaks"
    #: Takes after a while.
    SLOW = "slow"


class Fault(StrEnum):
    """What may befall a part of the path."""

    KILL_API = "kill api"
    PAUSE_API = "pause api"
    KILL_HUB = "kill hub"
    PAUSE_HUB = "pause hub"
    KILL_QUEUER = "kill queuer"
    PAUSE_QUEUER = "pause queuer"
    KILL_WORKER = "kill worker"
    PAUSE_WORKER = "pause worker"
    KILL_AGENT = "kill agent"
    PAUSE_AGENT = "pause agent"
    KILL_ROOT_HALF = "kill root half"
    KILL_POSTFIX = "kill postfix"
    PAUSE_POSTFIX = "pause postfix"
    STOP_POSTGRES = "stop postgres"
    KILL_BACKEND = "kill backend"
    KILL_REDIS = "kill redis"
    FLUSH_REDIS = "flush redis"
    #: It refuses whatever takes memory.
    FILL_REDIS = "fill redis"
    CUT_POWER = "cut power"
    CUT_NETWORK = "cut network"
    #: The server sends, and nothing reaches it.
    DEAFEN = "deafen server"
    #: The server hears, and nothing of it gets out.
    MUTE = "mute server"
    CLOCK_AHEAD = "clock ahead"
    CLOCK_BEHIND = "clock behind"
    FILL_DISK = "fill disk"
    #: The disk that Postfix's queue lies on.
    FILL_QUEUE_DISK = "fill queue disk"


@dataclass(frozen=True, slots=True)
class Order:
    """One message to send."""

    number: int
    recipient: str
    priority: str

    @property
    def temper(self) -> Temper:
        """How the sink treats it."""
        return temper_of(self.recipient)


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault that begins when so many messages are accepted, and lasts so many seconds where it lasts."""

    at: int
    fault: Fault
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    orders: tuple[Order, ...]
    blows: tuple[Blow, ...]


_TEMPERS = {
    Temper.TAKES: 88,
    Temper.REFUSES: 4,
    Temper.LATER: 2,
    Temper.CUTS: 2,
    Temper.BREAKS: 2,
    Temper.SLOW: 2,
}
_PRIORITIES = {"high": 1, "normal": 2, "low": 1}
_FEWEST_BLOWS = 2
_MOST_BLOWS = 4
_LONGEST_SECONDS = 3.0


def draw(seed: int, messages: int, faults: Sequence[Fault] = tuple(Fault)) -> Plan:
    """Return the plan of a seed; its faults are some of `faults`, all different."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, and no secret
    orders = tuple(_draw_order(chance, seed, number) for number in range(messages))
    count = min(len(faults), chance.randint(_FEWEST_BLOWS, _MOST_BLOWS))
    blows = [
        Blow(chance.randrange(max(1, messages)), fault, round(chance.uniform(0.2, _LONGEST_SECONDS), 2))
        for fault in chance.sample(list(faults), count)
    ]
    return Plan(seed, orders, tuple(sorted(blows, key=lambda blow: blow.at)))


def targeted(name: str, messages: int) -> tuple[Order, ...]:
    """Return messages that the sink takes, for a run whose faults are chosen by hand."""
    return tuple(Order(number, f"{name}-{number}@{Temper.TAKES}.{SINK_DOMAIN}", "normal") for number in range(messages))


def temper_of(recipient: str) -> Temper:
    """Return how the sink treats a recipient."""
    return Temper(recipient.rpartition("@")[2].partition(".")[0])


def _draw_order(chance: random.Random, seed: int, number: int) -> Order:
    (temper,) = chance.choices(list(_TEMPERS), list(_TEMPERS.values()))
    (priority,) = chance.choices(list(_PRIORITIES), list(_PRIORITIES.values()))
    return Order(number, f"s{seed}-{number}@{temper}.{SINK_DOMAIN}", priority)
