"""The other side of a milter: what Postfix says to it of one message, and the header fields that it answers with.

Source of the rules: Sendmail's libmilter (mfdef.h, version 6), which opendkim is built on. A packet is its length in
four octets, a letter and its data. No step is left out and none goes without an answer, for none of that is offered.
"""

import socket
import struct
from collections.abc import Iterator, Sequence

#: For each answer; to see that it is not to sign, opendkim may ask name servers that are away.
_SECONDS = 15.0
_LENGTH = struct.Struct("!I")
#: Octets of the longest packet that is taken.
_MOST = 1024 * 1024
#: Version 6; it may change messages in every way there is; it may leave out nothing.
_OFFER = struct.pack("!III", 6, 0x1FF, 0)
_CONNECTED = b"localhost\0" + b"4" + struct.pack("!H", 25) + b"127.0.0.1\0"
#: It wants to hear more of the message; it has heard enough of the body.
_GO_ON = frozenset({b"c", b"s"})
#: It has a verdict: accept, continue, discard, reject, try later, a reply of its own, or that the connection ends.
_VERDICTS = frozenset({b"a", b"c", b"d", b"r", b"t", b"y", b"f", b"4"})
_ADD_FIELD, _INSERT_FIELD = b"h", b"i"


class MilterFailed(Exception):
    """It ended the conversation, or said what no milter says."""


def fields_added(path: str, sender: str, fields: Sequence[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
    """Return the header fields that a milter gives to a message from this host; none when it wants nothing of it.

    Raises:
        MilterFailed: see there.
        OSError: it cannot be reached, or takes too long.

    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(path)
        if _ask(connection, b"O", _OFFER)[0] != b"O":
            raise MilterFailed("it does not negotiate")
        for letter, data in _steps(sender, fields, body):
            if _ask(connection, letter, data)[0] not in _GO_ON:
                return []
        return list(_end_of_message(connection))


def _steps(sender: str, fields: Sequence[tuple[str, str]], body: bytes) -> Iterator[tuple[bytes, bytes]]:
    address = f"<{sender}>\0".encode()
    yield b"C", _CONNECTED
    yield b"H", b"localhost\0"
    yield b"M", address
    yield b"R", address
    for name, value in fields:
        yield b"L", f"{name}\0{value}\0".encode()
    yield b"N", b""
    yield b"B", body


def _end_of_message(connection: socket.socket) -> Iterator[tuple[str, str]]:
    letter, data = _ask(connection, b"E", b"")
    while letter not in _VERDICTS:
        if letter in {_ADD_FIELD, _INSERT_FIELD}:
            # What is inserted has its place before it.
            name, _, value = data[_LENGTH.size if letter == _INSERT_FIELD else 0 :].rstrip(b"\0").partition(b"\0")
            yield name.decode("ascii", "replace"), value.decode("ascii", "replace")
        letter, data = _hear(connection)


def _ask(connection: socket.socket, letter: bytes, data: bytes) -> tuple[bytes, bytes]:
    connection.sendall(_LENGTH.pack(len(data) + 1) + letter + data)
    return _hear(connection)


def _hear(connection: socket.socket) -> tuple[bytes, bytes]:
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
    if not 0 < length <= _MOST:
        raise MilterFailed(f"it announces {length} octets")
    packet = _receive(connection, length)
    return packet[:1], packet[1:]


def _receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        part = connection.recv(length - len(received))
        if not part:
            raise MilterFailed("it ended the conversation")
        received += part
    return received
