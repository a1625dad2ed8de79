"""Who may call what at the agents' doors. A method that is not in the table is refused, whoever calls."""

import enum
from collections.abc import Mapping
from types import MappingProxyType

from control_plane.errors import Forbidden


class Callers(enum.Enum):
    """Groups of callers."""

    #: Whoever reaches the door; the request itself must prove something.
    ANYONE = "anyone"
    #: A server whose certificate we issued, which is not revoked, and which is not banned or deleted.
    ADMITTED_AGENT = "admitted agent"


POLICY: Mapping[str, Callers] = MappingProxyType(
    {
        "/penguinmails.agent.v1.Enrolment/Enrol": Callers.ANYONE,
        "/penguinmails.agent.v1.Link/Connect": Callers.ADMITTED_AGENT,
        "/penguinmails.agent.v1.Link/Renew": Callers.ADMITTED_AGENT,
    }
)


def callers_of(method: str) -> Callers:
    """Return who may call a method, given by its full name; raise `Forbidden` when nobody may."""
    callers = POLICY.get(method)
    if callers is None:
        raise Forbidden("nobody may call this")
    return callers
