"""A mailbox's password: made here, shown once, kept as a hash that Dovecot checks."""

import secrets

from argon2 import PasswordHasher

_PASSWORD_BYTES = 18
# OWASP's least for Argon2id: 19 MiB, two passes. One lane, because Dovecot's library (libsodium) takes no more, and
# little memory, because a small server checks it at each login.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def generate_password() -> str:
    """Return a new password of 144 random bits in characters that need no quoting anywhere."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def dovecot_hash(password: str) -> str:
    """Return the hash with Dovecot's scheme in front. Takes some 20 ms of CPU; run it in a thread."""
    return "{ARGON2ID}" + _HASHER.hash(password)
