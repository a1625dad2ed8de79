"""Deflates batches: of an hour's reports a quarter is left, of many events a half.

Message by message, and so not by gRPC, whose client compresses every message of a call or none.
"""

import zlib

from protos.agent.v1.link_pb2 import AgentMessage

#: Bytes of the smallest message that is worth it. Of a report by itself, 1.3 KB, half could be saved, and the hub would
#: take twice as long to read it.
LEAST_DEFLATED = 4096


def deflated(message: AgentMessage, most: int) -> AgentMessage:
    """Return a message in the form in which it is to go to a hub that inflates up to so many bytes; 0 for none."""
    if not LEAST_DEFLATED <= message.ByteSize() <= most:
        return message
    return AgentMessage(deflated=zlib.compress(message.SerializeToString(), level=1))
