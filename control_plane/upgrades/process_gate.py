"""Whether an agent's own process does worse than before its server was changed: pure, from what the server reports.

A server watches a new release itself for a while (agent/upgrade/judge.py); what grows slowly, or ends now and then,
shows only later.
"""

from dataclasses import dataclass

from control_plane.monitoring.agent_memory import MOST

_MIB = 1 << 20
#: By which its memory may be more than it was. A healthy agent has less than 60 MiB.
_MAY_GROW = 24 * _MIB
#: Ends that systemd started it again after.
_MOST_RESTARTS = 2


@dataclass(frozen=True, slots=True)
class Process:
    """Resident memory, 0 where nobody knows; and how often it was started again, counted anew by each new release."""

    rss_bytes: float = 0
    restarts: float = 0


#: Nothing is known of it.
UNKNOWN = Process()


def ailing(past: Process, lately: Process) -> str:
    """Return one sentence if the process leaks or ends again and again, else an empty one."""
    restarts = lately.restarts - past.restarts if lately.restarts >= past.restarts else lately.restarts
    if restarts > _MOST_RESTARTS:
        return f"its agent ended {restarts:.0f} times"
    allowed = min(past.rss_bytes + _MAY_GROW, MOST) if past.rss_bytes else MOST
    if lately.rss_bytes > allowed:
        before = f", and {past.rss_bytes / _MIB:.0f} before" if past.rss_bytes else ""
        return f"its agent takes {lately.rss_bytes / _MIB:.0f} MiB{before}; {allowed / _MIB:.0f} would be allowed"
    return ""
