"""Verifying against the signer, and an independent signer and verifier."""

import base64

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.relay.signing import SigningKey
from agent.relay.verifying import signature_fault

PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
PEM = PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
PUBLIC_KEY = PRIVATE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RECORD = b"v=DKIM1; k=rsa; p=" + base64.b64encode(PUBLIC_KEY)
KEY = SigningKey("example.test", "pm1", PRIVATE_KEY)
MESSAGE = b"From: Ann <ann@example.test>\r\nTo: bob@example.org\r\nSubject:  Tea \r\n\r\nAt  four?\r\n\r\n"
SIGNED = KEY.sign(MESSAGE, 1_795_000_000) + MESSAGE
#: As opendkim does, with a field from before the message was signed on top.
BY_ANOTHER = b"X-Before: 1\r\n" + dkim.sign(
    MESSAGE, b"pm1", b"example.test", PEM, canonicalize=(b"relaxed", b"relaxed"), include_headers=[b"from", b"subject"]
)


def test_what_is_signed_here_and_elsewhere_is_accepted() -> None:
    assert signature_fault(SIGNED, KEY) == ""
    assert signature_fault(BY_ANOTHER + MESSAGE, KEY) == ""


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (SigningKey("other.test", "pm1", PRIVATE_KEY), "another d="),
        (SigningKey("example.test", "pm2", PRIVATE_KEY), "another s="),
        (SigningKey("example.test", "pm1", rsa.generate_private_key(65537, 2048)), "not by its key"),
    ],
)
def test_a_signature_with_another_key_than_the_one_in_force_is_told(key: SigningKey, why: str) -> None:
    assert signature_fault(SIGNED, key).endswith(why)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"four", b"five", "the body is not what was signed"),
        (b"Tea", b"Tee", "the signature is not by its key"),
        (b"; b=", b"; b=!", "the signature is not by its key"),
        (b"rsa-sha256", b"rsa-sha1", "the signature has another a="),
        (b"relaxed/relaxed", b"simple/simple", "the signature has another c="),
        (b"DKIM-Signature", b"X-Signature", "there is no signature"),
    ],
)
def test_what_is_wrong_with_a_signature_is_told(before: bytes, after: bytes, why: str) -> None:
    assert before in SIGNED
    assert signature_fault(SIGNED.replace(before, after), KEY) == why


@settings(deadline=None, max_examples=80)
@given(st.integers(0, SIGNED.rindex(b"?")), st.sampled_from(b"a=;: b\t"))
def test_whatever_is_changed_nothing_is_accepted_that_others_refuse(place: int, octet: int) -> None:
    changed = SIGNED[:place] + bytes([octet]) + SIGNED[place + 1 :]
    if not signature_fault(changed, KEY):
        assert dkim.verify(changed, dnsfunc=lambda _name, timeout=5: RECORD)


@given(st.binary(max_size=200))
def test_any_message_has_a_verdict(message: bytes) -> None:
    assert signature_fault(b"DKIM-Signature: " + message, KEY)
