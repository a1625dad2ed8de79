"""One slot for each kind of message: bounded, newest wins, first come first sent."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.uplink.outbound import Outbound
from protos.agent.v1.commands_pb2 import CommandResult
from protos.agent.v1.configuration_pb2 import ConfigurationResult
from protos.agent.v1.link_pb2 import AgentMessage, QueueAccessRequest
from protos.agent.v1.telemetry_pb2 import HealthReport


def health(at_ms: int) -> AgentMessage:
    return AgentMessage(health=HealthReport(at_ms=at_ms))


def result(version: int) -> AgentMessage:
    return AgentMessage(configuration_result=ConfigurationResult(version=version))


async def drained(outbound: Outbound) -> list[AgentMessage]:
    taken = []
    try:
        async with asyncio.timeout(0):
            while True:
                taken.append(await outbound.take())
    except TimeoutError:
        return taken


@given(st.lists(st.builds(health, st.integers(0, 9)) | st.builds(result, st.integers(0, 9))))
def test_of_each_kind_the_newest_waits(messages: list[AgentMessage]) -> None:
    outbound = Outbound()
    for message in messages:
        outbound.put(message)
    newest = {message.WhichOneof("body"): message for message in messages}
    assert asyncio.run(drained(outbound)) == list(newest.values())


async def test_the_result_of_each_command_is_sent() -> None:
    outbound = Outbound()
    results = [AgentMessage(command_result=CommandResult(id=each)) for each in (b"1", b"2", b"3")]
    for result in results:
        outbound.put(result)
    assert await drained(outbound) == results


async def test_whoever_waits_is_woken() -> None:
    outbound = Outbound()
    waiting = asyncio.create_task(outbound.take())
    await asyncio.sleep(0)
    outbound.put(health(1))
    assert (await waiting).health.at_ms == 1


async def test_a_dropped_kind_is_not_sent() -> None:
    outbound = Outbound()
    outbound.put(AgentMessage(queue_access_request=QueueAccessRequest()))
    outbound.put(health(1))
    outbound.drop("queue_access_request")
    outbound.drop("delivery_events")
    assert [message.WhichOneof("body") for message in await drained(outbound)] == ["health"]


def test_a_message_without_a_body_is_refused() -> None:
    with pytest.raises(ValueError, match="body"):
        Outbound().put(AgentMessage())
