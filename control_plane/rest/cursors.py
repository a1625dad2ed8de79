"""Where a list goes on, as its callers are given it: opaque, and good in no other list than the one it came from.

A cursor is the place and the first 16 octets of an HMAC-SHA256 (RFC 2104) over the place and the list: whose it is, at
which path, by which filters. Its key is derived from the newest master key, and those of older ones are believed too,
so every process writes and reads the same cursors, and there is nothing to configure. It hides nothing: the page before
has shown what a place is made of, such as an id, or a moment and an id.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

from control_plane.errors import InvalidCursor
from control_plane.sealing import Sealer

_PURPOSE = "penguin list cursors"
_MAC_OCTETS = 16


class Cursors:
    """Writes cursors, and reads those that it has written."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._keys = sealer.derived(_PURPOSE)

    def write(self, place: str, of: bytes) -> str:
        """Return the cursor to a place in a list."""
        return _written(self._keys[-1], place, of)

    def read(self, cursor: str, of: bytes) -> str | None:
        """Return the place that a cursor leads to in a list; None when it was not written for that."""
        place = _place(cursor)
        if place is None:
            return None
        if self._is_ours(cursor, place, of):
            return place
        # Another process may have got a newer key.
        self._sealer.read_again()
        self._keys = self._sealer.derived(_PURPOSE)
        return place if self._is_ours(cursor, place, of) else None

    def _is_ours(self, cursor: str, place: str, of: bytes) -> bool:
        # As text: base64 writes some octets in more than one way.
        return any(hmac.compare_digest(_written(key, place, of), cursor) for key in self._keys)


@dataclass(frozen=True, slots=True)
class Listing:
    """One list, as it is asked for."""

    cursors: Cursors = field(repr=False)
    of: bytes
    #: The part of the request that has the cursor.
    pointer: str

    @classmethod
    def named(cls, cursors: Cursors, names: Sequence[object], pointer: str) -> "Listing":
        """Return the list that has these names: whose, where, and by which filters."""
        return cls(cursors, json.dumps(names).encode(), pointer)

    def place(self, cursor: str) -> str:
        """Return where the list goes on; raise `InvalidCursor`."""
        place = self.cursors.read(cursor, self.of)
        if place is None:
            raise InvalidCursor(
                "Send `next` of the page before as it came, with the same filters; or begin without it.", self.pointer
            )
        return place

    def cursor(self, place: object) -> str | None:
        """Return the cursor to a place, such as an id; None when there is none."""
        return None if place is None else self.cursors.write(str(place), self.of)


def _written(key: bytes, place: str, of: bytes) -> str:
    octets = place.encode()
    mac = hmac.digest(key, len(octets).to_bytes(2) + octets + of, "sha256")[:_MAC_OCTETS]
    return urlsafe_b64encode(octets + mac).decode().rstrip("=")


def _place(cursor: str) -> str | None:
    """Return what a cursor says, true or not."""
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-_MAC_OCTETS].decode()
    except ValueError:
        return None
