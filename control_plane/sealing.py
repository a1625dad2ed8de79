"""Secrets at rest: AES-256-GCM with key ids, bound to the row they belong to.

A sealed value is `header | nonce (12 bytes) | ciphertext and tag`; the header is a version byte and the id of the key
that opens it: 1 for a master key (the first 8 bytes of its SHA-256), 2 for a tenant's data key, 3 for the platform's
(the 16 bytes of its row's id; control_plane/data_keys). The associated data names the place (`table.column:row id`), so
a value copied to another row does not open. Nonces are random, which is safe for fewer than 2**32 values under one key
(NIST SP 800-38D, section 8.3).

Master keys lie in one file, 32 bytes each, oldest first. The newest seals, and all of them open.
"""

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MASTER = b"\x01"
TENANTS = b"\x02"
PLATFORMS = b"\x03"
KEY_BYTES = 32

#: Octets of a header, by its version.
_HEADER_BYTES = {MASTER: 9, TENANTS: 17, PLATFORMS: 17}
_NONCE_BYTES = 12


class SealBroken(Exception):
    """A sealed value does not open: it was altered, moved to another row, or its key is not at hand."""


class Seals(Protocol):
    """Seals and opens; `place` is such as `dkim_keys.private_key:<row id>`."""

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return `plain` sealed for `place`."""
        ...

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed for `place`; raise `SealBroken` when it is not that."""
        ...


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One 256-bit key and the header of what it seals."""

    header: bytes
    aead: AESGCM = field(repr=False)

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return `plain` sealed for `place`."""
        nonce = os.urandom(_NONCE_BYTES)
        return self.header + nonce + self.aead.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what this key sealed for `place`; raise `SealBroken` when it is not that."""
        body = sealed[len(self.header) :]
        try:
            return self.aead.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            raise SealBroken(f"{place} does not open") from None


class Sealer:
    """The master keys. They wrap data keys; what was sealed before there were any, they open still."""

    def __init__(self, keys: bytes, file: Path | None = None) -> None:
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._take(keys)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Return the keys in a file, made with one (mode 0600) when there is none.

        It is read again when a value names a key that is not known, and before anything is sealed if it has changed.
        """
        return cls(load_or_create_key(path), path)

    def __repr__(self) -> str:
        return f"Sealer(key_ids={[key.header[1:].hex() for key in self._keys]})"

    @property
    def headers(self) -> Sequence[bytes]:
        """What values begin with that these keys sealed, oldest first."""
        return [key.header for key in self._keys]

    def read_again(self) -> None:
        """Take up keys that the file has got since."""
        if self._file is not None:
            self._seen = _stamp(self._file)
            self._take(self._file.read_bytes())

    def derived(self, purpose: str) -> Sequence[bytes]:
        """Return a key for a purpose of its own from each master key, oldest first (HKDF-Expand, RFC 5869)."""
        return [HKDFExpand(SHA256(), KEY_BYTES, purpose.encode()).derive(secret) for secret in self._secrets]

    def _take(self, keys: bytes) -> None:
        self._secrets = _split(keys)
        self._keys = [_master_key(secret) for secret in self._secrets]

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return `plain` sealed for `place` by the newest key: an older one may have been destroyed by now."""
        if self._file is not None and _stamp(self._file) != self._seen:
            self.read_again()
        return self._keys[-1].seal(plain, place)

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed for `place`; raise `SealBroken` when it is not that."""
        header = header_of(sealed)
        if header not in self.headers:
            self.read_again()
        for key in self._keys:
            if key.header == header:
                return key.open(sealed, place)
        raise SealBroken(f"{place} was sealed with another key or format")


@dataclass(frozen=True, slots=True)
class DataKeys:
    """Data keys that are unwrapped, by header. They seal what `sealing` says; `master` opens what none of them did."""

    master: Sealer
    keys: Mapping[bytes, SealingKey]
    sealing: SealingKey | None = None

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return `plain` sealed for `place`."""
        if self.sealing is None:
            raise SealBroken(f"{place}: these keys only open")
        return self.sealing.seal(plain, place)

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed for `place`; raise `SealBroken` when it is not that."""
        key = self.keys.get(header_of(sealed))
        return key.open(sealed, place) if key else self.master.open(sealed, place)


def data_key(version: bytes, key_id: uuid.UUID, key: bytes) -> SealingKey:
    """Return a data key, of a tenant (`TENANTS`) or the platform (`PLATFORMS`)."""
    return SealingKey(version + key_id.bytes, AESGCM(key))


def header_of(sealed: bytes) -> bytes:
    """Return what names the key of a sealed value."""
    return sealed[: _HEADER_BYTES.get(sealed[:1], 0)]


def load_or_create_key(path: Path) -> bytes:
    """Return the master keys in `path`, making one (mode 0600) when there is none.

    The file comes whole and is on the disk when this returns, for by then something may be sealed by it; of several
    that make one at the same time all have the same.
    """
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
        _sync(path.parent)
    return path.read_bytes()


def add_master_key(path: Path) -> None:
    """Put a new key behind those in the file; whoever reads it meanwhile sees all of them or those before."""
    _replace(path, path.read_bytes() + os.urandom(KEY_BYTES))


def keep_master_keys(path: Path, headers: Sequence[bytes]) -> None:
    """Take the keys out of the file that do not seal what begins so; the newest stays."""
    keys = _split(path.read_bytes())
    kept = [key for key in keys if _master_key(key).header in headers or key is keys[-1]]
    _replace(path, b"".join(kept))


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent)


def _stamp(file: Path) -> tuple[int, int]:
    """Return what is another when the file was replaced."""
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _split(keys: bytes) -> list[bytes]:
    if not keys or len(keys) % KEY_BYTES:
        raise ValueError(f"sealing keys must be {KEY_BYTES} bytes long each, not {len(keys)}")
    return [keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES)]


def _master_key(key: bytes) -> SealingKey:
    return SealingKey(MASTER + hashlib.sha256(key).digest()[: _HEADER_BYTES[MASTER] - 1], AESGCM(key))
