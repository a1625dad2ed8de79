import datetime as dt
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.provisioning.challenge_notes import Challenge, Note, Place, asked_for, dumped, loaded, sort_out

_NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
_OWN = Place("fleet.example", "mx-7", None)
_DOMAINS = Place("acme.example", "mta-sts", uuid.UUID(int=1))
_PLACES = {"mx-7.fleet.example": _OWN, "mta-sts.acme.example": _DOMAINS}
_CHALLENGES = [Challenge(place, letter * 43) for place in (_OWN, _DOMAINS) for letter in "VW"]
_NOTES = st.lists(
    st.builds(Note, st.sampled_from(_CHALLENGES), st.integers(-600, 600).map(lambda s: _NOW + dt.timedelta(seconds=s))),
    unique_by=lambda note: note.challenge,
)
_WANTED = st.none() | st.lists(st.sampled_from(_CHALLENGES), unique=True)


def _asked(name: str, value: str = "V" * 43) -> dict[str, str]:
    return {"name": name, "value": value}


def test_a_server_is_understood_that_asks_for_its_own_names() -> None:
    asked = [_asked("_acme-challenge.mx-7.fleet.example"), _asked("_acme-challenge.mta-sts.acme.example", "W" * 43)]
    wanted = asked_for(asked, _PLACES)

    assert wanted == (Challenge(_OWN, "V" * 43), Challenge(_DOMAINS, "W" * 43))
    assert [(c.record.fqdn, c.record.zone, c.record.value) for c in wanted] == [
        ("_acme-challenge.mx-7.fleet.example", "fleet.example", "V" * 43),
        ("_acme-challenge.mta-sts.acme.example", "acme.example", "W" * 43),
    ]


@pytest.mark.parametrize(
    "asked",
    [
        _asked("_acme-challenge.mx-8.fleet.example"),
        _asked("_acme-challenge.fleet.example"),
        _asked("mx-7.fleet.example"),
        _asked("_acme-challenge.mx-7.fleet.example."),
        _asked("_acme-challenge._acme-challenge.mx-7.fleet.example"),
        _asked("_acme-challenge.mta-sts.acme.example", "v=spf1 +all"),
        _asked("_acme-challenge.mta-sts.acme.example", "V" * 43 + "\n"),
        {"name": "_acme-challenge.mta-sts.acme.example"},
        {},
        _asked("_acme-challenge.mx-7.fleet.example", "W" * 43),
    ],
)
def test_one_record_that_is_not_its_own_or_a_second_for_a_name_and_it_gets_none(asked: dict[str, str]) -> None:
    assert asked_for([_asked("_acme-challenge.mx-7.fleet.example"), asked], _PLACES) is None


@given(_NOTES, _WANTED, st.booleans())
def test_every_note_is_over_or_stands_and_what_is_wanted_is_noted_once(
    notes: list[Note], wanted: list[Challenge] | None, lives: bool
) -> None:
    over, standing, new = sort_out(notes, wanted, _NOW, lives=lives)

    assert sorted(map(notes.index, over + standing)) == list(range(len(notes)))
    assert all(lives and note.until > _NOW for note in standing)
    if wanted is not None:
        assert {note.challenge for note in standing} <= set(wanted)
    if lives:
        assert set(new) == set(wanted or ()) - {note.challenge for note in notes}
    else:
        assert (standing, new) == ([], [])


@given(_NOTES)
def test_notes_are_kept_as_they_are(notes: list[Note]) -> None:
    kept = dumped(notes)
    assert loaded(json.loads(kept) if kept else None) == notes
    assert (kept is None) == (not notes)
