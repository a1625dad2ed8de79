import base64
import contextlib
import uuid
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from control_plane.identity.passkeys import (
    KeptPasskey,
    RelyingParty,
    UntrueAnswer,
    authentication_options,
    challenge_of,
    registration_options,
    verify_answer,
    verify_registration,
)
from tests.fakes.authenticator import Authenticator, encoded

PARTY = RelyingParty.at("https://mail.test:8443/")
CHALLENGE = encoded(bytes(32))
TO_MAKE = registration_options(PARTY, uuid.UUID(int=1), "anna@example.net", CHALLENGE, [])
TO_ANSWER = authentication_options(PARTY, CHALLENGE)


def test_a_relying_party_is_the_host_and_answers_at_its_origin() -> None:
    assert (PARTY.id, PARTY.origin) == ("mail.test", "https://mail.test:8443")


def test_what_is_asked_names_what_there_is_already_and_wants_its_person_verified() -> None:
    options = registration_options(PARTY, uuid.UUID(int=1), "anna@example.net", CHALLENGE, [b"known"])
    assert [each["id"] for each in options["excludeCredentials"]] == [encoded(b"known")]
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert TO_ANSWER["userVerification"] == "required"


@given(st.data())
def test_no_change_of_what_was_made_is_taken_for_another_error(data: st.DataObject) -> None:
    made = _authenticator().make(TO_MAKE)
    _disturb(data, made["response"], "attestationObject")
    with contextlib.suppress(UntrueAnswer):
        verify_registration(PARTY, made, CHALLENGE)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 300) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers(-8, 8) | st.text(), inner),
)


@given(VALUES)
def test_cbor_of_any_form_is_no_passkey(value: object) -> None:
    made = _authenticator().make(TO_MAKE)
    for form in (value, {"fmt": "none", "attStmt": {}, "authData": value}, {"fmt": "packed", "attStmt": value}):
        made["response"]["attestationObject"] = encoded(cbor2.dumps(form))
        with pytest.raises(UntrueAnswer):
            verify_registration(PARTY, made, CHALLENGE)


@given(st.data())
def test_no_change_of_an_answer_is_taken(data: st.DataObject) -> None:
    authenticator = _authenticator()
    registered = verify_registration(PARTY, authenticator.make(TO_MAKE), CHALLENGE)
    answer = authenticator.answer(TO_ANSWER)
    kept = KeptPasskey(registered.public_key, registered.sign_count)
    assert verify_answer(PARTY, answer, CHALLENGE, kept, alone=True) == 1
    _disturb(data, answer["response"], data.draw(st.sampled_from(["clientDataJSON", "authenticatorData", "signature"])))
    with contextlib.suppress(UntrueAnswer):
        challenge_of(answer)
    with pytest.raises(UntrueAnswer):
        verify_answer(PARTY, answer, CHALLENGE, kept, alone=True)


def _authenticator() -> Authenticator:
    """Return one that always says the same: Ed25519 signs without chance."""
    return Authenticator(PARTY.origin, Ed25519PrivateKey.from_private_bytes(bytes(32)), b"credential")


def _disturb(data: st.DataObject, response: dict[str, Any], name: str) -> None:
    """Change one octet of a part, or cut it short."""
    octets = bytearray(base64.urlsafe_b64decode(response[name] + "=="))
    place = data.draw(st.integers(0, len(octets) - 1))
    if data.draw(st.booleans()):
        octets[place] ^= data.draw(st.integers(1, 255))
    else:
        del octets[place:]
    response[name] = encoded(bytes(octets))
