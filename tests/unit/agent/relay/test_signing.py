import base64
import time

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.relay.signing import SIGNED_HEADERS, SigningKey, SigningKeys
from protos.agent.v1.configuration_pb2 import DesiredState, DkimKey, MailDomain, MailServer

PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
PEM = PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC_KEY = base64.b64encode(
    PRIVATE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
KEY = SigningKey("example.test", "pm1", PRIVATE_KEY)
NOW = int(time.time())
MESSAGE = (
    b"From: Ann <ann@example.test>\r\nTo: bob@example.org\r\nSubject: Tea\r\n"
    b"Date: Sat, 21 Nov 2026 20:42:00 +0000\r\nMessage-ID: <1@example.test>\r\nMIME-Version: 1.0\r\n"
    b"\r\nAt four?\r\n"
)


def verifies(message: bytes) -> bool:
    record = f"v=DKIM1; k=rsa; p={PUBLIC_KEY}".encode()
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: {b"pm1._domainkey.example.test.": record}[name]))


def signed(message: bytes) -> bytes:
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return KEY.sign(message, NOW) + message


awkward_text = st.text(alphabet="ab. \t", max_size=12)
bodies = st.lists(st.one_of(awkward_text, st.just(""), st.just(" " * 200)), max_size=8).map(
    lambda lines: "\r\n".join(lines).encode()
)
header_values = st.text(alphabet="ab ;:=<>\t", max_size=30).map(
    lambda text: ("x" + text).replace("a ", "a\r\n ").encode()
)
headers = st.lists(
    st.tuples(st.sampled_from([b"Subject", b"reply-to", b"X-Other", b"List-Unsubscribe", b"TO"]), header_values),
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(headers, bodies)
def test_an_independent_verifier_accepts_the_signature(fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    head = b"From: ann@example.test\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    assert verifies(signed(head + b"\r\n" + body))


@pytest.mark.parametrize(
    "body",
    [b"", b"\r\n", b"\r\n\r\n\r\n", b" ", b" \t \r\n\r\n", b"text", b"text  \r\n\r\n\r\n", b"a \t b\r\n", b"x" * 998],
)
def test_awkward_bodies_verify(body: bytes) -> None:
    assert verifies(signed(b"From: ann@example.test\r\nSubject: x\r\n\r\n" + body))


def test_a_message_without_body_verifies() -> None:
    assert verifies(signed(b"From: ann@example.test\r\nSubject: x\r\n"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"At four?", b"At five?"),
        (b"Subject: Tea", b"Subject: Tee"),
        (b"Message-ID: <1@", b"Message-ID: <2@"),
        (b"To: bob@", b"To: eve@"),
    ],
)
def test_a_tampered_message_does_not_verify(before: bytes, after: bytes) -> None:
    message = signed(MESSAGE)
    assert verifies(message)
    assert not verifies(message.replace(before, after))


def test_a_second_from_breaks_the_signature() -> None:
    header = KEY.sign(MESSAGE, NOW)
    assert not verifies(header + b"From: eve@example.test\r\n" + MESSAGE)


def test_the_list_headers_of_campaign_mail_are_signed() -> None:
    message = (
        b"List-Unsubscribe: <https://u.example.test/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        + MESSAGE
    )
    whole = signed(message)
    assert verifies(whole)
    assert not verifies(whole.replace(b"One-Click", b"Two-Click"))
    assert not verifies(whole.replace(b"https://u.", b"https://v."))


def test_the_signature_says_when_and_limits_no_length() -> None:
    header = KEY.sign(MESSAGE, NOW)
    assert b"t=%d;" % NOW in header
    assert b"l=" not in header.replace(b"relaxed", b"")[: header.index(b"bh=")]
    assert all(len(line) <= 78 for line in header.split(b"\r\n"))


def test_every_name_to_be_signed_is_known_once() -> None:
    assert len(set(SIGNED_HEADERS)) == len(SIGNED_HEADERS)


def desired(*keys: DkimKey) -> DesiredState:
    return DesiredState(version=7, server=MailServer(domains=[MailDomain(name="Example.test", dkim_keys=keys)]))


def test_only_the_active_key_signs() -> None:
    keys = SigningKeys.from_desired(
        desired(
            DkimKey(selector="pm1", private_key_pem=PEM),
            DkimKey(selector="pm2", private_key_pem=PEM, active=True),
        )
    )
    key = keys.key_for("example.TEST")
    assert keys.version == 7
    assert key is not None
    assert key.selector == "pm2"
    assert keys.key_for("other.test") is None


def test_a_key_that_is_no_rsa_key_leaves_the_domain_without_one() -> None:
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem in (other, b"rubbish"):
        assert (
            SigningKeys.from_desired(desired(DkimKey(selector="a", private_key_pem=pem, active=True))).by_domain == {}
        )


def test_no_key_is_shown() -> None:
    assert "PRIVATE" not in repr(KEY)
    assert "RSAPrivateKey" not in repr(KEY)
