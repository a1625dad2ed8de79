import hashlib
import uuid

from hypothesis import given
from hypothesis import strategies as st

from control_plane.rest.kept_places import Asked, Place, of_operator, of_person, of_stranger, of_tenant
from control_plane.tenancy.scope import TenantScope

SECRET, ANOTHER = b"s" * 32, b"t" * 32
ANNA, BOB = uuid.UUID(int=1), uuid.UUID(int=2)
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
ASKED = st.builds(Asked, KEYS, st.binary(max_size=40))


def written(place: Place) -> bytes:
    place_of_it: bytes = place.columns["place"]
    return place_of_it


@given(ASKED, ASKED)
def test_strangers_meet_by_the_same_key_and_the_same_request_alone(one: Asked, other: Asked) -> None:
    same = written(of_stranger(SECRET, one)) == written(of_stranger(SECRET, other))
    assert same == (one == other)


@given(st.binary(min_size=1, max_size=10), KEYS, st.data())
def test_what_the_key_lends_to_the_request_is_another_request(words: bytes, key: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(key) - 1))
    moved = Asked(key[cut:], words + key[:cut].encode())
    same = written(of_stranger(SECRET, Asked(key, words))) == written(of_stranger(SECRET, moved))
    assert same == (cut == 0)


@given(ASKED, ASKED)
def test_somebodys_key_leads_to_one_place_whatever_they_ask(one: Asked, other: Asked) -> None:
    places = [of_person(SECRET, ANNA, BOB, each) for each in (one, other)]
    assert (written(places[0]) == written(places[1])) == (one.key == other.key)
    assert (places[0].digests == places[1].digests) == (one == other)


@given(ASKED)
def test_nobody_shares_a_place_with_anybody_else(asked: Asked) -> None:
    places = [
        of_person(SECRET, ANNA, ANNA, asked),
        of_person(SECRET, ANNA, BOB, asked),
        of_person(SECRET, BOB, ANNA, asked),
        of_stranger(SECRET, asked),
        of_stranger(ANOTHER, asked),
    ]
    assert len({written(each) for each in places}) == len(places)
    assert len({digest for each in places for digest in each.digests}) == len(places)


@given(ASKED)
def test_without_the_secret_no_request_can_be_tried(asked: Asked) -> None:
    """A plain hash of what is asked, with or without the key, is not in what is written."""
    scope = TenantScope(ANNA, frozenset())
    stranger = of_stranger(SECRET, asked)
    places = [
        stranger,
        of_person(SECRET, ANNA, BOB, asked),
        of_operator(SECRET, ANNA, asked),
        of_tenant([SECRET], scope, asked),
    ]
    plain = [
        hashlib.sha256(each).digest() for each in (asked.words, asked.key.encode(), asked.key.encode() + asked.words)
    ]
    assert not {written(stranger), *(digest for each in places for digest in each.digests)} & set(plain)


@given(ASKED, ASKED)
def test_operators_are_locked_one_by_one(one: Asked, other: Asked) -> None:
    locks = {of_operator(SECRET, whose, each).lock for whose in (ANNA, BOB) for each in (one, other)}
    assert len(locks) == 2 * len({one.key, other.key})
