"""One link of a tenant's chain: what is hashed, and what a chain that was tampered with looks like.

A link's hash is SHA-256 over the hash before it and the link as canonical JSON (sorted names, no spaces, UTF-8). The
database's owner could write the whole chain anew, or take the newest links away: that shows against a hash that is kept
elsewhere, such as the newest one that `penguin audit verify` prints.
"""

import datetime as dt
import hashlib
import json
import uuid
from dataclasses import asdict, dataclass

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done: `subject` names the row and what it lies in, `fields` what was given, by name alone."""

    at: dt.datetime
    actor: str
    act: str
    subject: dict[str, str]
    fields: list[str]
    address: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """A deed in its place."""

    tenant_id: uuid.UUID
    position: int
    deed: Deed
    previous_hash: bytes
    hash: bytes


def hash_of(tenant_id: uuid.UUID, position: int, deed: Deed, previous_hash: bytes) -> bytes:
    """Return the hash that a link has in this place."""
    told = {
        **asdict(deed),
        "at": deed.at.astimezone(dt.UTC).isoformat(timespec="microseconds"),
        "tenant_id": str(tenant_id),
        "position": position,
    }
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(previous_hash + canonical.encode()).digest()


class ChainChecker:
    """Looks at a chain link by link, oldest first."""

    def __init__(self, anchor: tuple[int, bytes] | None = None) -> None:
        """`anchor` is a position and the hash that was known to be there."""
        self._anchor = anchor
        self._met = False
        self.position = 0
        self.hash = GENESIS
        self.faults: list[str] = []

    def look_at(self, link: Link) -> None:
        """Note what is wrong with the link that follows those before."""
        if link.position != self.position + 1:
            self.faults.append(f"{_span(self.position + 1, link.position - 1)} removed")
        elif link.previous_hash != self.hash:
            self.faults.append(f"{link.position}: does not follow the one before it")
        if hash_of(link.tenant_id, link.position, link.deed, link.previous_hash) != link.hash:
            self.faults.append(f"{link.position}: altered")
        if self._anchor and link.position == self._anchor[0]:
            self._met = True
            if link.hash != self._anchor[1]:
                self.faults.append(f"{link.position}: not the one that was known")
        self.position, self.hash = link.position, link.hash

    def end(self) -> list[str]:
        """Return all faults, also that the link which was known is gone."""
        if self._anchor and not self._met:
            self.faults.append(f"{self._anchor[0]}: known, and removed")
        return self.faults


def _span(first: int, last: int) -> str:
    return f"{first}:" if first == last else f"{first} to {last}:"
