"""How the network half asks the root half: one request, one answer of the same kind, a connection of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from google.protobuf.message import DecodeError

from agent.configuration import wire
from protos.agent.v1.root_half_pb2 import RootAnswer, RootRequest

_ANSWERS = {
    "desired_state": "configuration_result",
    "command": "command_result",
    "certificate_pair": "configuration_result",
    "look_for_drift": "drift",
    "look_at_mail": "mail_seen",
    "try_signing": "signed_trials",
    None: None,
}
#: Seconds between two looks. All are taken one after the other, so that the root half is started once for them.
LOOK_EVERY = 300.0

_log = logging.getLogger(__name__)


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


async def look_for_ever(look: Callable[[], Awaitable[None]], every_seconds: float = LOOK_EVERY) -> None:
    """Have something looked at again and again, the first time after a while; a look in vain is told in the log."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await look()
        except (OSError, EOFError, wire.BadFrame, DecodeError) as error:
            _log.warning("the root half did not answer: %r", error)
