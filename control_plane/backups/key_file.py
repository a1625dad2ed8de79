"""Keys in a file of their own: the master keys that secrets are sealed with, and the repository's password.

They are in no backup, for a backup that can open itself protects nothing. The file is AES-256-GCM under a key from a
passphrase (scrypt, N = 2**17, r = 8, p = 1: RFC 7914 and OWASP's password storage advice).
"""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from control_plane.errors import Conflict, InvalidInput

SHORTEST_PASSPHRASE = 12
_MAGIC = b"penguinmails keys 1\n"
_SALT_BYTES = 16
_NONCE_BYTES = 12


def write_keys(path: Path, files: Mapping[str, Path], passphrase: str) -> None:
    """Write the contents of `files` by their names to a new file (mode 0600).

    Raises `InvalidInput` for a short passphrase and `Conflict` when the file is there.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InvalidInput(f"the passphrase needs {SHORTEST_PASSPHRASE} characters or more")
    plain = {name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items() if file.exists()}
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, json.dumps(plain).encode(), _MAGIC)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(f"{path} is there already") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(_MAGIC + salt + nonce + sealed)
        file.flush()
        os.fsync(file.fileno())


def put_back(path: Path, files: Mapping[str, Path], passphrase: str) -> list[str]:
    """Write what the file holds to its places where nothing is, and return the names of what was put back.

    Raises `InvalidInput` when the passphrase is another or the file was altered.
    """
    content = path.read_bytes()
    body = content.removeprefix(_MAGIC)
    salt, nonce, sealed = body[:_SALT_BYTES], body[_SALT_BYTES:][:_NONCE_BYTES], body[_SALT_BYTES + _NONCE_BYTES :]
    try:
        plain = json.loads(AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, _MAGIC))
    except (InvalidTag, ValueError):
        raise InvalidInput(f"{path} does not open with this passphrase, or was altered") from None
    missing = [name for name, file in files.items() if name in plain and not file.exists()]
    for name in missing:
        descriptor = os.open(files[name], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64decode(plain[name]))
    return missing


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**17, r=8, p=1).derive(passphrase.encode())
