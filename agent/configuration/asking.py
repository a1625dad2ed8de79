"""How the network half asks the root half: one request, one answer of the same kind, a connection of its own."""

import asyncio
from pathlib import Path

from agent.configuration import wire
from protos.agent.v1.root_half_pb2 import RootAnswer, RootRequest

_ANSWERS = {
    "desired_state": "configuration_result",
    "command": "command_result",
    "certificate_pair": "configuration_result",
    "look_for_drift": "drift",
    None: None,
}


async def ask_root_half(socket: Path, request: RootRequest, seconds: float) -> RootAnswer:
    """Return the answer. Raises `OSError` (`TimeoutError` among them), `EOFError`, `BadFrame` and `DecodeError`."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            writer.write(wire.frame(request.SerializeToString()))
            await writer.drain()
            length = wire.message_length(await reader.readexactly(wire.LENGTH.size))
            answer = RootAnswer.FromString(await reader.readexactly(length))
        finally:
            writer.close()
    if answer.WhichOneof("body") != _ANSWERS[request.WhichOneof("body")]:
        raise wire.BadFrame("the root half answered something else")
    return answer
