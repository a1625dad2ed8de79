"""What is remembered between two runs: the last outcome, and when to ask again. One small file (status_writer.py).

The agent's network half reads it for the health report, so it holds no secret.
"""

import dataclasses
import json
from pathlib import Path

from agent.acme.states import State


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """Times are seconds since the Unix epoch; `next_attempt` is 0 while nothing speaks against asking now."""

    state: State = State.SELF_SIGNED
    detail: str = ""
    last_attempt: float = 0.0
    next_attempt: float = 0.0
    #: Attempts that failed since the last success.
    failures: int = 0
    #: When the authority was asked, within the last day.
    attempts: tuple[float, ...] = ()
    #: What was ordered then; see `Order.mark`.
    order: str = ""
    #: And for which names; see `Order.names_mark`.
    names: str = ""
    #: Ordered names beside the host's own that the served certificate is for, and those that it is not for.
    certified: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def load(path: Path) -> Status:
    """Return what is remembered; a file that is missing or damaged is nothing."""
    try:
        kept = json.loads(path.read_bytes())
        lists = {name: tuple(kept.get(name, ())) for name in ("attempts", "certified", "missing")}
        return Status(**{**kept, **lists, "state": State(kept["state"])})
    except (OSError, ValueError, KeyError, TypeError):
        return Status()
