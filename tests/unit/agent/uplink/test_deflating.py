"""What goes deflated, and what goes as it is."""

import zlib

import pytest

from agent.uplink.deflating import LEAST_DEFLATED, deflated
from protos.agent.v1.commands_pb2 import CommandResult
from protos.agent.v1.link_pb2 import AgentMessage

MOST = 2 * LEAST_DEFLATED


def of_size(size: int) -> AgentMessage:
    message = AgentMessage(command_result=CommandResult(output="x" * size))
    return AgentMessage(command_result=CommandResult(output="x" * (size - (message.ByteSize() - size))))


@pytest.mark.parametrize("size", [LEAST_DEFLATED, MOST])
def test_a_batch_goes_deflated(size: int) -> None:
    batch = of_size(size)
    assert batch.ByteSize() == size
    going = deflated(batch, MOST)
    assert going.ByteSize() < size / 10
    assert AgentMessage.FromString(zlib.decompress(going.deflated)) == batch


@pytest.mark.parametrize("size", [500, LEAST_DEFLATED - 1, MOST + 1])
def test_what_is_small_or_more_than_the_hub_inflates_goes_as_it_is(size: int) -> None:
    message = of_size(size)
    assert deflated(message, MOST) is message


def test_a_hub_that_inflates_nothing_is_sent_nothing_deflated() -> None:
    batch = of_size(MOST)
    assert deflated(batch, 0) is batch
