"""People's passwords: Argon2id, with the same effort whether there is somebody or not.

A hash takes 64 MiB and some 0.1 s of CPU, so it is made in a thread, and two at a time in one process.
"""

import asyncio
import secrets
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

#: Characters. NIST SP 800-63B asks for length and for nothing else.
SHORTEST = 12
LONGEST = 256

_AT_ONCE = 2


class PersonPasswords:
    """Makes and checks hashes; one for a process. Argon2's costs are the library's own, RFC 9106's second choice."""

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        self._hasher = PasswordHash((hasher or Argon2Hasher(),))
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._nobodys = cache(lambda: self._hasher.hash(secrets.token_urlsafe()))

    async def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, kept: str | None) -> bool:
        """Return whether it is the password; without a hash the same is done for nothing."""
        async with self._turns:
            return await asyncio.to_thread(self._verify, password, kept)

    def _verify(self, password: str, kept: str | None) -> bool:
        right = self._hasher.verify(password, self._nobodys() if kept is None else kept)
        return right and kept is not None
