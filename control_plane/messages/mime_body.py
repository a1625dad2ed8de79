"""Write the MIME entity of a message: pure, and the same bytes as the standard library's generator, without it.

`email` builds, flattens and refolds a tree for each message: 0.4 to 0.7 ms for 5 KB, which is more than all else that
accepting a send costs. The entities written here are of three kinds only, so their bytes can be put down directly; a
property test holds them to what `email.message.MIMEPart` writes.
"""

from binascii import b2a_base64
from collections.abc import Sequence
from email.quoprimime import body_encode

#: RFC 5322, section 2.1.1: octets of a line, without CRLF.
_MAX_LINE = 998

# RFC 2045, section 6.8: encoded lines of at most 76 characters.
_BASE64_LINE = 76
# The length at which the standard library breaks quoted-printable lines under its SMTP policy.
_QUOTED_PRINTABLE_LINE = 78

# Quoted-printable is written by Python code and base64 by C code: from here on only base64 is quick enough.
_QUOTED_PRINTABLE_LIMIT = 100_000


def text_part(text: str, subtype: str) -> bytes:
    """Return a text entity in UTF-8, headers and body; the text's line ends are LF, and it has no other line breaks."""
    whole = text if text.endswith("\n") else f"{text}\n"
    encoding = _transfer_encoding(text)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode("ascii") + _ENCODERS[encoding](whole)


def alternatives(parts: Sequence[bytes], boundary: str) -> bytes:
    """Return a multipart/alternative entity; the parts come from the plainest to the richest (RFC 2046, 5.1.4)."""
    delimiter = f"--{boundary}".encode("ascii")
    head = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii")
    return b"".join((head, *(delimiter + b"\r\n" + part + b"\r\n" for part in parts), delimiter, b"--\r\n"))


def _transfer_encoding(text: str) -> str:
    """Choose what keeps the part 7-bit with lines of at most 998 octets, and readable where that costs little."""
    if text.isascii() and max(map(len, text.split("\n"))) <= _MAX_LINE:
        return "7bit"
    if len(text) > _QUOTED_PRINTABLE_LIMIT or 6 * (len(text) - len(text.encode("ascii", "ignore"))) > len(text):
        return "base64"
    return "quoted-printable"


def _seven_bit(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("ascii")


def _base64(text: str) -> bytes:
    encoded = b2a_base64(text.replace("\n", "\r\n").encode(), newline=False)
    lines = [encoded[start : start + _BASE64_LINE] for start in range(0, len(encoded), _BASE64_LINE)]
    return b"\r\n".join((*lines, b""))


def _quoted_printable(text: str) -> bytes:
    encoded = body_encode(text.encode().decode("latin-1"), _QUOTED_PRINTABLE_LINE)
    return encoded.replace("\n", "\r\n").encode("ascii")


_ENCODERS = {"7bit": _seven_bit, "base64": _base64, "quoted-printable": _quoted_printable}
