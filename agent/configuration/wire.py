"""How the two halves talk over the Unix socket: one message each way, each behind its length in four octets.

The request is a RootRequest, the answer a RootAnswer, both serialized protobuf.
"""

import socket
import struct

#: Octets. A server with a thousand domains, keys included, needs 2 MB.
MAX_MESSAGE = 16 * 1024 * 1024

LENGTH = struct.Struct("!I")


class BadFrame(Exception):
    """The other side closed early or announced more than `MAX_MESSAGE`."""


def frame(message: bytes) -> bytes:
    """Return the message with its length before it."""
    return LENGTH.pack(len(message)) + message


def message_length(prefix: bytes) -> int:
    """Return how many octets follow; raise `BadFrame` when they are too many."""
    (length,) = LENGTH.unpack(prefix)
    if length > MAX_MESSAGE:
        raise BadFrame(f"{length} octets are announced, {MAX_MESSAGE} are the most")
    return int(length)


def receive(connection: socket.socket) -> bytes:
    """Read one message from a blocking socket; raise `BadFrame`, or `TimeoutError` after the socket's time-out."""
    return _receive_exactly(connection, message_length(_receive_exactly(connection, LENGTH.size)))


def _receive_exactly(connection: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        part = connection.recv(min(length - len(received), 65536))
        if not part:
            raise BadFrame(f"closed after {len(received)} of {length} octets")
        received += part
    return bytes(received)
