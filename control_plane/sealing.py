"""Secrets at rest: AES-256-GCM with a key id, bound to the row they belong to.

A sealed value is `version (1 byte) | key id (8 bytes) | nonce (12 bytes) | ciphertext and tag`. The associated data
names the place (`table.column:row id`), so a value copied to another row does not open. Nonces are random, which is
safe for fewer than 2**32 values under one key (NIST SP 800-38D, section 8.3).
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES + _NONCE_BYTES


class SealBroken(Exception):
    """A sealed value does not open: it was altered, moved to another row, or sealed with another key."""


class Sealer:
    """Seals and opens with one 256-bit key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError(f"the sealing key must be 32 bytes long, not {len(key)}")
        self._aead = AESGCM(key)
        self._key_id = hashlib.sha256(key).digest()[:_KEY_ID_BYTES]

    def __repr__(self) -> str:
        return f"Sealer(key_id={self._key_id.hex()})"

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return `plain` sealed for `place`, such as `dkim_keys.private_key:<row id>`."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + self._key_id + nonce + self._aead.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed for `place`; raise `SealBroken` when it is not that."""
        key_id = sealed[len(_VERSION) : len(_VERSION) + _KEY_ID_BYTES]
        if sealed[: len(_VERSION)] != _VERSION or key_id != self._key_id:
            raise SealBroken(f"{place} was sealed with another key or format")
        nonce = sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES]
        try:
            return self._aead.decrypt(nonce, sealed[_HEADER_BYTES:], place.encode())
        except InvalidTag:
            raise SealBroken(f"{place} does not open") from None


def load_or_create_key(path: Path) -> bytes:
    """Return the 32-byte key in `path`, making it (mode 0600) when there is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()
