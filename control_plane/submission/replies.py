"""Our errors as SMTP replies (RFC 5321, enhanced codes of RFC 3463): pure. What a client should try again is 4yz."""

from control_plane.errors import (
    Forbidden,
    PenguinError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)

#: The first that fits counts.
_CODES: tuple[tuple[type[PenguinError], str], ...] = (
    (TooManyRequests, "451 4.7.1"),
    (Unavailable, "451 4.3.0"),
    (TooLarge, "552 5.3.4"),
    (Unauthenticated, "550 5.7.1"),
    (Forbidden, "550 5.7.1"),
)
_OTHER = "554 5.6.0"

LOG_IN_FIRST = "530 5.7.0 Log in first: AUTH with an API key as password."
TRY_AGAIN = "451 4.3.0 This is our fault, and nothing was changed; try again."
LOG_IN_LATER = "454 4.7.0 Log-in is not possible now; try again."
WRONG_KEY = "535 5.7.8 The user or the API key is not right, or the key may not send."


def reply_to(error: PenguinError) -> str:
    """Return the reply to a command that ends in this error."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), _OTHER)
    # A reply is ASCII and a line of 512 octets.
    return f"{code} {error.detail}".encode("ascii", "replace").decode()[:500]


def accepted(ids: list[str]) -> str:
    """Return the reply to a message that is committed: the ids of its sends, one in a line."""
    *firsts, last = ids
    return "\r\n".join([*(f"250-2.0.0 {each}" for each in firsts), f"250 2.0.0 {last}"])
