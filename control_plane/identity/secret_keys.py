"""What all our keys have in common: a prefix that tells them apart and may be shown, and a secret kept as its SHA-256.

The secret is 32 random bytes: a plain hash of it cannot be searched, so no slow hash is needed.
"""

import base64
import datetime as dt
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from control_plane.errors import Unauthenticated

_PREFIX_BYTES = 5
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewSecret:
    """What a new key is made of; both parts are lower-case base 32, so neither holds an underscore."""

    prefix: str
    secret: str = field(repr=False)

    @property
    def sha256(self) -> bytes:
        """What is kept of the secret."""
        return sha256_of(self.secret)


@dataclass(frozen=True, slots=True)
class KeptKey:
    """What a key's row says of whether it is true and in force."""

    secret_sha256: bytes = field(repr=False)
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


def new_secret() -> NewSecret:
    """Make a prefix and a secret."""
    return NewSecret(base32(secrets.token_bytes(_PREFIX_BYTES)), base32(secrets.token_bytes(_SECRET_BYTES)))


def sha256_of(secret: str) -> bytes:
    """Return what is kept of a secret and what one that is presented is compared by."""
    return hashlib.sha256(secret.encode()).digest()


def require_in_force(kept: KeptKey | None, secret_sha256: bytes, now: dt.datetime, what: str) -> None:
    """Raise `Unauthenticated` unless the key is there, its secret the right one, and it is in force.

    `what` is what the sentence begins with. Whether a key exists is told to nobody who does not have its secret.
    """
    if kept is None or not hmac.compare_digest(kept.secret_sha256, secret_sha256):
        raise Unauthenticated(f"{what} is not valid.")
    if kept.revoked_at is not None:
        raise Unauthenticated(f"{what} has been revoked.")
    if kept.expires_at is not None and kept.expires_at <= now:
        raise Unauthenticated(f"{what} has expired.")


def base32(value: bytes) -> str:
    """Return bytes as lower-case base 32 without padding."""
    return base64.b32encode(value).decode().rstrip("=").lower()
