"""A milter that behaves: it hears a message step by step, and signs what is from the domains it has keys of.

As opendkim does, it gives a field to what it does not sign, and puts off what it cannot. It speaks by the rules that
`agent/configuration/milter.py` names.
"""

import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agent.relay.signing import SigningKey

_LENGTH = struct.Struct("!I")


class _Conversation(socketserver.StreamRequestHandler):
    server: "FakeMilter"

    def handle(self) -> None:
        head, body = "", b""
        while prefix := self.rfile.read(_LENGTH.size):
            packet = self.rfile.read(*_LENGTH.unpack(prefix))
            letter, data = packet[:1], packet[1:]
            self.server.heard.append(letter)
            if letter == self.server.hangs_up_at:
                return
            match letter:
                case b"O":
                    self._say(b"O", data)
                    continue
                case b"L":
                    name, value, _ = data.decode().split("\0")
                    head += f"{name}: {value}\r\n"
                case b"B":
                    body = data
                case b"E":
                    self._sign(head, body)
            self._say(self.server.answers.get(letter, b"c"))

    def _sign(self, head: str, body: bytes) -> None:
        self._say(b"p")
        domain = head.partition("@")[2].partition("\r\n")[0]
        key = self.server.keys.get(domain)
        if key is None:
            self._say(b"h", b"Authentication-Results\0mx.example; dkim=none\0")
            return
        name, value = key.sign(head.encode() + b"\r\n" + body, 1_795_000_000).decode().split(": ", 1)
        folded = value.removesuffix("\r\n").replace("\r\n", "\n")
        self._say(b"i", _LENGTH.pack(1) + f"{name}\0{folded}\0".encode())

    def _say(self, letter: bytes, data: bytes = b"") -> None:
        self.wfile.write(_LENGTH.pack(len(data) + 1) + letter + data)


class FakeMilter(socketserver.ThreadingUnixStreamServer):
    """Listens at `path`; a test reads what it heard, and says where it answers otherwise, or not at all."""

    daemon_threads = True

    def __init__(self, path: Path, keys: Mapping[str, SigningKey]) -> None:
        super().__init__(str(path), _Conversation)
        self.keys = dict(keys)
        #: The letter of each packet.
        self.heard: list[bytes] = []
        self.answers: dict[bytes, bytes] = {}
        self.hangs_up_at = b""


@contextmanager
def running_milter(path: Path, keys: Mapping[str, SigningKey]) -> Iterator[FakeMilter]:
    """Let it listen meanwhile."""
    with FakeMilter(path, keys) as milter:
        thread = threading.Thread(target=milter.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield milter
        finally:
            milter.shutdown()
            thread.join()
