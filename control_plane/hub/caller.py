"""Who is calling: what the door found out, for the service behind it."""

from contextvars import ContextVar
from dataclasses import dataclass

from control_plane.enrolment.identity import AgentIdentity


@dataclass(frozen=True, slots=True)
class Caller:
    """An admitted server and the serial number of the certificate that it came with."""

    identity: AgentIdentity
    serial: str


#: Set by the door for each call that needs an admitted agent.
CALLER: ContextVar[Caller] = ContextVar("caller")
