"""Verifies a signature as `signing` and opendkim make them: rsa-sha256, relaxed/relaxed (RFC 6376 section 6.1).

No verifier for mail of others: the key is known beforehand, and nothing is asked of DNS.
"""

import base64
import binascii
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from agent.relay.signing import SigningKey, header_fields, relaxed_body, relaxed_value, split_message

_SIGNATURE = b"dkim-signature"
_WHITE_SPACE = re.compile(rb"[ \t\r\n]+")
#: The value of the tag b=, which is left out of what is signed (RFC 6376 section 3.7).
_OWN_VALUE = re.compile(rb"((?:^|;)[ \t]*b[ \t]*=)[^;]*")


def signature_fault(message: bytes, key: SigningKey) -> str:
    """Return why a message is not signed with `key`, in a few words; empty when it is. Its first signature counts."""
    head, body = split_message(message)
    fields = header_fields(head)
    signature = next((value for name, value in fields if name == _SIGNATURE), None)
    if signature is None:
        return "there is no signature"
    tags = _tags(signature)
    named = {b"d": key.domain.encode(), b"s": key.selector.encode(), b"a": b"rsa-sha256", b"c": b"relaxed/relaxed"}
    if wrong := [name for name, value in named.items() if tags.get(name) != value]:
        return f"the signature has another {wrong[0].decode()}="
    if tags.get(b"bh") != base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()):
        return "the body is not what was signed"
    data = _signed(fields, tags.get(b"h", b"")) + _SIGNATURE + b":" + relaxed_value(_OWN_VALUE.sub(rb"\1", signature))
    try:
        value = base64.b64decode(tags.get(b"b", b""), validate=True)
        key.private_key.public_key().verify(value, data, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error):
        return "the signature is not by its key"
    return ""


def _tags(signature: bytes) -> dict[bytes, bytes]:
    pairs = [part.partition(b"=") for part in signature.split(b";")]
    return {_WHITE_SPACE.sub(b"", name): _WHITE_SPACE.sub(b"", value) for name, _, value in pairs}


def _signed(fields: list[tuple[bytes, bytes]], names: bytes) -> bytes:
    """Return the fields that were signed, each from the last of its name upwards, in canonical form."""
    left = list(fields)
    signed = b""
    for name in names.lower().split(b":"):
        found = next((place for place in reversed(range(len(left))) if left[place][0] == name), None)
        if found is not None:
            signed += b"%b:%b\r\n" % (name, relaxed_value(left.pop(found)[1]))
    return signed
