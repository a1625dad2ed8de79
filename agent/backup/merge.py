"""Which of a mailbox's earlier messages it still has: those are not brought back once more.

A message is known by what is in it. Its file's name changes with its flags, and its folder with whoever files it.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

#: The mailbox's own messages, and those of its folders (Maildir++): what was seen and what was not.
_MESSAGES = ("cur/*", "new/*", ".*/cur/*", ".*/new/*")


def drop_known(earlier: Path, now: Path) -> tuple[int, int]:
    """Remove from the Maildir `earlier` what the Maildir `now` has in any folder; return how many stay and went."""
    by_size: dict[int, list[Path]] = {}
    for path, size in _messages(now):
        by_size.setdefault(size, []).append(path)
    hashes: dict[int, set[bytes]] = {}
    stay = went = 0
    for path, size in _messages(earlier):
        if size in by_size and size not in hashes:
            hashes[size] = {digest for each in by_size[size] if (digest := _digest(each))}
        if _digest(path) in hashes.get(size, ()):
            path.unlink()
            went += 1
        else:
            stay += 1
    return stay, went


def count(maildir: Path) -> int:
    """Return how many messages there are."""
    return sum(1 for _ in _messages(maildir))


def _messages(maildir: Path) -> Iterator[tuple[Path, int]]:
    for pattern in _MESSAGES:
        for path in list(maildir.glob(pattern)):
            try:
                yield path, path.stat().st_size
            except FileNotFoundError:
                continue


def _digest(path: Path) -> bytes:
    """Return the hash of a message; nothing for one that has gone meanwhile."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return b""
