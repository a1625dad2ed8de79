"""Our errors as SMTP replies (RFC 5321, enhanced codes of RFC 3463 and RFC 6531): pure.

What a client should try again is 4yz.
"""

from control_plane.errors import (
    Forbidden,
    PenguinError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from control_plane.inboxes.addresses import needs_smtputf8
from control_plane.messages.written import UnencodedHeader

#: The first that fits counts.
_CODES: tuple[tuple[type[PenguinError], str], ...] = (
    (TooManyRequests, "451 4.7.1"),
    (Unavailable, "451 4.3.0"),
    (TooLarge, "552 5.3.4"),
    (Unauthenticated, "550 5.7.1"),
    (Forbidden, "550 5.7.1"),
    (UnencodedHeader, "550 5.6.9"),
)
_OTHER = "554 5.6.0"

LOG_IN_FIRST = "530 5.7.0 Log in first: AUTH with an API key as password."
TRY_AGAIN = "451 4.3.0 This is our fault, and nothing was changed; try again."
LOG_IN_LATER = "454 4.7.0 Log-in is not possible now; try again."
NO_SMTPUTF8 = "555 5.5.4 SMTPUTF8 is not offered here: addresses and headers are ASCII."
WRONG_KEY = "535 5.7.8 The user or the API key is not right, or the key may not send."


def reply_to(error: PenguinError) -> str:
    """Return the reply to a command that ends in this error."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), _OTHER)
    # A reply is ASCII and a line of 512 octets.
    return f"{code} {error.detail}".encode("ascii", "replace").decode()[:500]


def address_refused(address: str, detail: str) -> str:
    """Return the reply to an address that is none, or one of SMTPUTF8, which is not offered (RFC 6531, section 3.5)."""
    return f"553 {'5.6.7' if needs_smtputf8(address.rpartition('@')[0]) else '5.1.3'} {detail}"


def accepted(ids: list[str]) -> str:
    """Return the reply to a message that is committed: the ids of its sends, one in a line."""
    *firsts, last = ids
    return "\r\n".join([*(f"250-2.0.0 {each}" for each in firsts), f"250 2.0.0 {last}"])
