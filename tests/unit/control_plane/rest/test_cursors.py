import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import InvalidCursor
from control_plane.rest.cursors import Cursors, Listing
from control_plane.sealing import KEY_BYTES, Sealer, add_master_key, keep_master_keys

CURSORS = Cursors(Sealer(bytes(KEY_BYTES)))
#: Ids, positions, and places in a server's log.
PLACES = st.one_of(st.uuids().map(str), st.integers(0, 2**63 - 1).map(str), st.from_regex(r"[0-9]{1,20}-[0-9]{1,20}"))
NAMES = st.lists(st.text(max_size=20), max_size=4)


def listing(*names: object, cursors: Cursors = CURSORS) -> Listing:
    return Listing.named(cursors, names, "query/after")


def written(of: Listing, place: object) -> str:
    cursor = of.cursor(place)
    assert cursor is not None
    return cursor


def is_refused(of: Listing, cursor: str) -> bool:
    with pytest.raises(InvalidCursor) as refused:
        of.place(cursor)
    return refused.value.field == "query/after"


@given(PLACES, NAMES)
def test_a_cursor_leads_to_its_place_in_its_list(place: str, names: list[str]) -> None:
    assert listing(*names).place(written(listing(*names), place)) == place


@given(PLACES, st.data())
def test_a_cursor_with_any_character_changed_is_refused(place: str, data: st.DataObject) -> None:
    cursor = written(listing("/messages"), place)
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters().filter(lambda character: character != cursor[at]))
    assert is_refused(listing("/messages"), f"{cursor[:at]}{other}{cursor[at + 1 :]}")


def test_each_other_character_at_each_place_of_a_cursor_is_refused() -> None:
    """The last one too: of its six bits, base64 leaves some out."""
    cursor = written(listing("/messages"), uuid.UUID(int=1))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
    for at, own in enumerate(cursor):
        for other in alphabet.replace(own, ""):
            assert is_refused(listing("/messages"), f"{cursor[:at]}{other}{cursor[at + 1 :]}")


@given(PLACES, st.text(max_size=5))
def test_a_cursor_with_something_before_or_behind_it_is_refused(place: str, more: str) -> None:
    cursor = written(listing("/messages"), place)
    for longer in {f"{cursor}{more}", f"{more}{cursor}", cursor[:-1], cursor[1:]} - {cursor}:
        assert is_refused(listing("/messages"), longer)


@given(st.text(max_size=200))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    assert is_refused(listing("/messages"), text)


@given(PLACES, NAMES, NAMES)
def test_a_cursor_of_another_list_is_refused(place: str, one: list[str], other: list[str]) -> None:
    if one != other:
        assert is_refused(listing(*other), written(listing(*one), place))


def test_the_end_of_a_list_has_no_cursor() -> None:
    assert listing("/messages").cursor(None) is None


def test_another_processs_cursors_are_read_before_and_after_the_master_key_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "sealing.key"
    one, other = (listing("/messages", cursors=Cursors(Sealer.of_file(file))) for _ in range(2))
    before = written(one, "1")
    add_master_key(file)
    changed = listing("/messages", cursors=Cursors(Sealer.of_file(file)))
    for of in (one, other, changed):
        assert of.place(written(changed, "2")) == "2"
        assert of.place(before) == "1"
    keep_master_keys(file, [])
    assert is_refused(listing("/messages", cursors=Cursors(Sealer.of_file(file))), before)


def test_cursors_of_another_key_are_refused() -> None:
    stranger = listing("/messages", cursors=Cursors(Sealer(os.urandom(KEY_BYTES))))
    assert is_refused(listing("/messages"), written(stranger, "1"))


def test_keys_for_other_purposes_are_others() -> None:
    sealer = Sealer(bytes(KEY_BYTES))
    assert sealer.derived("cursors") != sealer.derived("something else")
    assert sealer.derived("cursors") != [bytes(KEY_BYTES)]
