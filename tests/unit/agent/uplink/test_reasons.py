"""The table of reasons: only a clear refusal stops an agent."""

import grpc
import pytest

from agent.uplink.reasons import Reaction, on_enrolment, on_link


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, Reaction.STOP),
        (grpc.StatusCode.UNAUTHENTICATED, Reaction.ENROL_AGAIN),
        (grpc.StatusCode.UNAVAILABLE, Reaction.BACK_OFF),
        (grpc.StatusCode.INTERNAL, Reaction.BACK_OFF),
        (grpc.StatusCode.OK, Reaction.BACK_OFF),
    ],
)
def test_the_link(code: grpc.StatusCode, reaction: Reaction) -> None:
    assert on_link(code) is reaction


def test_an_ill_control_plane_never_stops_an_agent() -> None:
    stopping = {code for code in grpc.StatusCode if on_enrolment(code) is Reaction.STOP}
    assert stopping == {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
    }
