"""Which of a server's checks a change of it answers for: pure, from since when they fail and when that was last seen.

Services stand still for a moment while packages are changed, a release restarts its agent, and people restart and
reload what they like: what is over at the next look takes nothing back. What lasts does, whenever it began.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

#: Among the names of checks: that its last configuration was refused or rolled back. Another release renders otherwise.
CONFIGURATION = "configuration"
#: For which a check must fail once its server has the change: longer than a service may be away for a restart
#: (agent/packages/choose.py) and than self-healing takes to begin one, shorter than anybody's mail waits for.
LASTS = dt.timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Failing:
    """A check that fails `since` some moment and still did at `seen_at`, when it was last looked at."""

    check: str
    since: dt.datetime
    seen_at: dt.datetime


def lasting(failing: Iterable[Failing], installed_at: dt.datetime) -> list[str]:
    """Return the names of checks that have failed for long enough on a server that has had the change since then."""
    return [each.check for each in failing if each.seen_at - max(each.since, installed_at) >= LASTS]
