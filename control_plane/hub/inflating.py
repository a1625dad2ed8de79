"""Inflates what agents send deflated, within a bound.

SECURITY: a few kilobytes can be a thousand times as many. No more is inflated than the bound and one byte, which is
enough to refuse the rest.
"""

import zlib

from google.protobuf.message import DecodeError

from control_plane.errors import InvalidInput
from protos.agent.v1.link_pb2 import AgentMessage

#: Bytes. An hour's reports have 80 KB, and 500 events 125. What is larger comes as it is, up to gRPC's own 4 MiB.
MOST_INFLATED = 1024 * 1024


def inflated(message: AgentMessage) -> AgentMessage:
    """Return what a message says, which may be deflated. Raises `InvalidInput` for what no agent of ours sends."""
    if not message.HasField("deflated"):
        return message
    try:
        inner = AgentMessage.FromString(_inflate(message.deflated))
    except (zlib.error, DecodeError) as error:
        raise InvalidInput("the deflated message cannot be read") from error
    if inner.HasField("deflated"):
        raise InvalidInput("a message is deflated once at most")
    return inner


def _inflate(octets: bytes) -> bytes:
    inflater = zlib.decompressobj()
    plain = inflater.decompress(octets, MOST_INFLATED + 1)
    if len(plain) > MOST_INFLATED:
        raise InvalidInput(f"a deflated message has at most {MOST_INFLATED} bytes before")
    if not inflater.eof or inflater.unused_data:
        raise InvalidInput("the deflated message is not a whole one, or more than one")
    return plain
