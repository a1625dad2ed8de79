"""Notes of records for a certificate authority: which there are, until when, and what is to become of them. Pure.

They are kept as JSON at the server that asked (`vps_servers.acme_challenges`).
"""

import datetime as dt
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.dns.records import DnsRecord

#: Seconds.
_TTL = 60
#: Names and values of RFC 8555 section 8.4; a value is a SHA-256, base64url without padding.
_PREFIX = "_acme-challenge."
_VALUE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a zone: of a domain, which may have chosen its DNS host, or of the platform."""

    zone: str
    name: str
    domain_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What an authority looks for at a place."""

    place: Place
    value: str

    @property
    def record(self) -> DnsRecord:
        """The record in the place's zone."""
        return DnsRecord(self.place.zone, "TXT", f"{_PREFIX}{self.place.name}", self.value, _TTL)


@dataclass(frozen=True, slots=True)
class Note:
    """A record that was or is about to be published, and until when it is there at most."""

    challenge: Challenge
    until: dt.datetime


def asked_for(asked: Sequence[Mapping[str, str]], places: Mapping[str, Place]) -> tuple[Challenge, ...] | None:
    """Return what a server asks for, one record for a place at most; None unless all of it is such a record."""
    found: dict[Place, Challenge] = {}
    for each in asked:
        name, value = each.get("name", ""), each.get("value", "")
        place = places.get(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
        if place is None or place in found or not _VALUE.fullmatch(value):
            return None
        found[place] = Challenge(place, value)
    return tuple(found.values())


def sort_out(
    notes: Sequence[Note], wanted: Sequence[Challenge] | None, now: dt.datetime, *, lives: bool
) -> tuple[list[Note], list[Note], list[Challenge]]:
    """Return which notes are over, which stand, and which challenges are new.

    `wanted` is None while it is not known; `lives` says whether the server may have any.
    """

    def is_over(note: Note) -> bool:
        return not lives or now >= note.until or (wanted is not None and note.challenge not in wanted)

    over = [note for note in notes if is_over(note)]
    noted = {note.challenge for note in notes}
    new = [challenge for challenge in wanted or () if lives and challenge not in noted]
    return over, [note for note in notes if note not in over], new


def loaded(kept: list[dict[str, Any]] | None) -> list[Note]:
    """Return the notes that are kept."""
    return [
        Note(
            Challenge(
                Place(each["zone"], each["name"], uuid.UUID(each["domain_id"]) if each["domain_id"] else None),
                each["value"],
            ),
            dt.datetime.fromisoformat(each["until"]),
        )
        for each in kept or ()
    ]


def dumped(notes: Sequence[Note]) -> str | None:
    """Return what is kept of the notes."""
    kept = [
        {
            "zone": note.challenge.place.zone,
            "name": note.challenge.place.name,
            "domain_id": str(note.challenge.place.domain_id) if note.challenge.place.domain_id else None,
            "value": note.challenge.value,
            "until": note.until.isoformat(),
        }
        for note in notes
    ]
    return json.dumps(kept) if kept else None
