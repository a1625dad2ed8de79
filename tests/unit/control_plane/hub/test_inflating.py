"""What agents send deflated: read as it was meant, or refused, and never more of it than the bound."""

import contextlib
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.uplink.deflating import deflated
from control_plane.errors import InvalidInput
from control_plane.hub.inflating import MOST_INFLATED, inflated
from protos.agent.v1.delivery_pb2 import DeliveryEvent, DeliveryEvents
from protos.agent.v1.link_pb2 import AgentMessage, Pong
from protos.agent.v1.telemetry_pb2 import HealthReport

EVENTS = st.builds(
    DeliveryEvent, event_id=st.binary(max_size=16), queue_id=st.text(max_size=500), at_ms=st.integers(0, 2**62)
)
REPORTS = st.builds(HealthReport, at_ms=st.integers(0, 2**62), agent_version=st.text(max_size=500))
MESSAGES = st.one_of(
    st.builds(lambda events: AgentMessage(delivery_events=DeliveryEvents(events=events)), st.lists(EVENTS)),
    st.builds(lambda late: AgentMessage(health=HealthReport(at_ms=1, backlog=late)), st.lists(REPORTS)),
)


def packed(octets: bytes) -> AgentMessage:
    return AgentMessage(deflated=zlib.compress(octets))


def of_size(size: int) -> bytes:
    """Return a serialised message of exactly so many bytes."""
    empty = AgentMessage(pong=Pong(nonce=b"\0" * size)).ByteSize() - size
    return AgentMessage(pong=Pong(nonce=b"\0" * (size - empty))).SerializeToString()


@given(MESSAGES)
def test_what_an_agent_deflates_is_read_as_it_was(message: AgentMessage) -> None:
    assert inflated(deflated(message, MOST_INFLATED)) == message
    assert inflated(packed(message.SerializeToString())) == message


def test_a_message_that_came_as_it_is_is_left_alone() -> None:
    message = AgentMessage(health=HealthReport(at_ms=1))
    assert inflated(message) is message


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_message_or_are_refused(octets: bytes) -> None:
    for hostile in (AgentMessage(deflated=octets), packed(octets)):
        with contextlib.suppress(InvalidInput):
            assert not inflated(hostile).HasField("deflated")


@given(MESSAGES, st.data())
def test_a_part_of_one_is_refused(message: AgentMessage, data: st.DataObject) -> None:
    whole = packed(message.SerializeToString()).deflated
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(InvalidInput):
        inflated(AgentMessage(deflated=whole[:cut]))


def test_what_follows_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match="more than one"):
        inflated(AgentMessage(deflated=packed(of_size(100)).deflated + b"more"))


def test_one_within_another_is_refused() -> None:
    with pytest.raises(InvalidInput, match="once at most"):
        inflated(packed(packed(of_size(100)).SerializeToString()))


def test_the_bound_is_the_last_size_that_is_read() -> None:
    assert inflated(packed(of_size(MOST_INFLATED))).HasField("pong")
    with pytest.raises(InvalidInput, match=f"at most {MOST_INFLATED} bytes"):
        inflated(packed(of_size(MOST_INFLATED + 1)))


def test_of_a_bomb_no_more_is_inflated_than_the_bound() -> None:
    bomb = AgentMessage(deflated=zlib.compress(b"\0" * (100 * MOST_INFLATED)))
    assert bomb.ByteSize() < MOST_INFLATED
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="at most"):
            inflated(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MOST_INFLATED
