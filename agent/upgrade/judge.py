"""Whether what was just switched to does well: pure, from what can be seen of it."""

import enum
from dataclasses import dataclass

#: Ends within the watch after which it counts as a crash loop; systemd starts it again after two seconds each time.
MOST_RESTARTS = 2
#: A healthy agent has less than 60 MiB.
MOST_RSS_BYTES = 128 * 1024 * 1024


class Verdict(enum.Enum):
    """What to do."""

    WAIT = "wait"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw of the agent's unit; `active` is systemd's ActiveState."""

    active: str
    restarts: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at what was switched to comes to."""

    #: One sentence for what is bad, else an empty one.
    fault: str = ""
    #: Something of it is on its way, and may come to good or bad: not for ever, for then it is a fault.
    is_passing: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: until the control plane must have confirmed it, and for how long it must do well after that."""

    link: float
    soak: float


def fault_of(sight: Sight, seconds: float) -> str:
    """Return one sentence for an agent that does badly `seconds` after the switch, else an empty one.

    What hangs is ended by its watchdog, which counts as a restart, or is never heard of.
    """
    if sight.active == "failed":
        return "it ended for good"
    if sight.restarts > MOST_RESTARTS:
        return f"it ended {sight.restarts} times within {seconds:.0f} s"
    if sight.rss_bytes > MOST_RSS_BYTES:
        return f"it grew to {sight.rss_bytes // 1024 // 1024} MiB"
    return ""


def judge(look: Look, seconds: float, confirmed_seconds: float | None, patience: Patience) -> tuple[Verdict, str]:
    """Return the verdict, and one sentence for a bad one.

    `seconds` since the switch, `confirmed_seconds` since the control plane's word was first seen.
    """
    if look.fault:
        return Verdict.BAD, look.fault
    if confirmed_seconds is None:
        late = seconds > patience.link
        sentence = f"the control plane did not hear of it within {patience.link:.0f} s"
        return (Verdict.BAD, sentence) if late else (Verdict.WAIT, "")
    return (Verdict.GOOD if confirmed_seconds >= patience.soak and not look.is_passing else Verdict.WAIT), ""
