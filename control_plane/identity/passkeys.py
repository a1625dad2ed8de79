"""Passkeys (Web Authentication, Level 3): what a browser is asked, and whether its answer is true. No I/O.

A passkey is for one host and answers at one origin, those of PENGUIN_PUBLIC_URL. To be logged in by it alone its person
must have been verified by the authenticator (a PIN, a finger): so it is two factors in one.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

#: What a browser sends, as `PublicKeyCredential.toJSON()` makes it.
Credential = Mapping[str, Any]
#: What is sent to a browser, for `PublicKeyCredential.parse…OptionsFromJSON()`.
Options = Mapping[str, Any]

_TIMEOUT_MILLISECONDS = 5 * 60 * 1000
# The library says most of what it refuses by its own errors; bytes that are no CBOR, no COSE key or no point of a curve
# come out as these.
_UNTRUE = (WebAuthnException, ValueError, KeyError, TypeError, IndexError, AttributeError)


class UntrueAnswer(Exception):
    """An authenticator's answer that is not what was asked for, or not by the passkey that it names."""


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Whom passkeys are for: a host, and the origin at which they answer."""

    id: str
    origin: str

    @classmethod
    def at(cls, public_url: str) -> "RelyingParty":
        """Return that of a URL."""
        parts = urlsplit(public_url)
        return cls(parts.hostname or "", f"{parts.scheme}://{parts.netloc}")


@dataclass(frozen=True, slots=True)
class Registered:
    """What is kept of a new passkey; the public key as COSE."""

    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int


@dataclass(frozen=True, slots=True)
class KeptPasskey:
    """What an answer is judged by."""

    public_key: bytes = field(repr=False)
    sign_count: int


def registration_options(
    party: RelyingParty, person_id: uuid.UUID, email: str, challenge: str, present: Iterable[bytes]
) -> Options:
    """Return what a browser makes a passkey by; `present` are the ids of those that there are already."""
    required = UserVerificationRequirement.REQUIRED
    options = webauthn.generate_registration_options(
        rp_id=party.id,
        rp_name="PenguinMails",
        user_id=person_id.bytes,
        user_name=email,
        challenge=base64url_to_bytes(challenge),
        timeout=_TIMEOUT_MILLISECONDS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=required
        ),
        exclude_credentials=_descriptors(present),
    )
    return _as_json(options)


def authentication_options(party: RelyingParty, challenge: str, of: Iterable[bytes] | None = None) -> Options:
    """Return what a browser is asked to answer; by any of its passkeys for us, or one of those with these ids."""
    needed = UserVerificationRequirement.REQUIRED if of is None else UserVerificationRequirement.PREFERRED
    options = webauthn.generate_authentication_options(
        rp_id=party.id,
        challenge=base64url_to_bytes(challenge),
        timeout=_TIMEOUT_MILLISECONDS,
        allow_credentials=_descriptors(of or ()),
        user_verification=needed,
    )
    return _as_json(options)


def challenge_of(credential: Credential) -> str:
    """Return the challenge that an answer says it is to; raise `UntrueAnswer` when it says none."""
    try:
        data = parse_client_data_json(base64url_to_bytes(credential["response"]["clientDataJSON"]))
        return bytes_to_base64url(data.challenge)
    except _UNTRUE as error:
        raise UntrueAnswer from error


def credential_id_of(credential: Credential) -> bytes:
    """Return the id of the passkey that an answer says it is by; raise `UntrueAnswer` when it says none."""
    try:
        return base64url_to_bytes(credential["rawId"])
    except _UNTRUE as error:
        raise UntrueAnswer from error


def verify_registration(party: RelyingParty, credential: Credential, challenge: str) -> Registered:
    """Return the passkey that was made for a challenge; raise `UntrueAnswer`."""
    try:
        made = webauthn.verify_registration_response(
            credential=dict(credential),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except _UNTRUE as error:
        raise UntrueAnswer from error
    return Registered(made.credential_id, made.credential_public_key, made.sign_count)


def verify_answer(
    party: RelyingParty, credential: Credential, challenge: str, kept: KeptPasskey, *, alone: bool
) -> int:
    """Return the passkey's counter after an answer; `alone`: nothing else is asked of the person.

    Raises `UntrueAnswer`, also for a counter that did not grow: the passkey was copied (section 6.1.1).
    """
    try:
        answered = webauthn.verify_authentication_response(
            credential=dict(credential),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=kept.public_key,
            credential_current_sign_count=kept.sign_count,
            require_user_verification=alone,
        )
    except _UNTRUE as error:
        raise UntrueAnswer from error
    return answered.new_sign_count


def _descriptors(ids: Iterable[bytes]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=each) for each in ids]


def _as_json(options: Any) -> Options:  # noqa: ANN401 - of either kind
    made: Options = json.loads(options_to_json(options))
    return made
