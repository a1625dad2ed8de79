"""What the agent does for each reason the control plane gives: one table for each door.

A code that a table does not name means that the control plane is away or ill, and the agent backs off and comes again.
A TLS handshake that fails, on either side, arrives here as UNAVAILABLE and so is such a case too.
"""

import enum

import grpc

#: Exit statuses of sysexits.h that penguin-agent.service's RestartPreventExitStatus names.
EXIT_BANNED = 77  # EX_NOPERM
EXIT_NOT_ENROLLED = 78  # EX_CONFIG


class Reaction(enum.Enum):
    """What to do about a failed call."""

    BACK_OFF = "back off and come again"
    #: The certificate names no server: enrol with the join token, if there is one.
    ENROL_AGAIN = "enrol again"
    STOP = "stop for good"


_ON_ENROLMENT = {
    # The token is burnt before it is judged, so asking again cannot help.
    grpc.StatusCode.UNAUTHENTICATED: Reaction.STOP,
    grpc.StatusCode.INVALID_ARGUMENT: Reaction.STOP,
    grpc.StatusCode.PERMISSION_DENIED: Reaction.STOP,
}

_ON_LINK = {
    grpc.StatusCode.PERMISSION_DENIED: Reaction.STOP,
    grpc.StatusCode.UNAUTHENTICATED: Reaction.ENROL_AGAIN,
}


def on_enrolment(code: grpc.StatusCode) -> Reaction:
    """Return what a failed enrolment asks for."""
    return _ON_ENROLMENT.get(code, Reaction.BACK_OFF)


def on_link(code: grpc.StatusCode) -> Reaction:
    """Return what a failed connection or renewal asks for."""
    return _ON_LINK.get(code, Reaction.BACK_OFF)
