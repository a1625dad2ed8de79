"""Reads a growing log file in whole lines, over rotation and truncation, from a place kept elsewhere.

A rotated file is read to its end before the next one: the logger may go on writing to it for a while, but it writes
nothing there once it has written to the new one. A rotated file is known by its inode and the bytes before our place.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from agent.journal.facts import LogCursor

#: Bytes read at once; also the longest line that is taken for one.
_AT_ONCE = 256 * 1024
_TAIL = 64
_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst"})


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines, without their ends, and the place after them."""

    lines: list[bytes]
    inode: int
    offset: int
    tail: bytes
    #: Lines that were cut for good before these.
    cut: int = 0
    #: Bytes may have been lost before these.
    hole: bool = False


class LogReader:
    """The log at `path`, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._inode = 0
        #: Of the next byte to read; the bytes before it that are no whole line yet are in `_partial`.
        self._position = 0
        self._partial = b""
        self._tail = b""
        self._cut = 0
        self._hole = False

    @property
    def is_open(self) -> bool:
        """Whether there is a file to read from."""
        return self._descriptor >= 0

    def resume(self, cursor: LogCursor) -> None:
        """Go on from `cursor`; when its file is gone, from the start of the present one, which is then a hole."""
        for path, _ in self._generations():
            if self._open(path, cursor.offset):
                before = os.pread(self._descriptor, len(cursor.tail), max(0, cursor.offset - len(cursor.tail)))
                if self._inode == cursor.inode and before == cursor.tail:
                    self._tail = cursor.tail
                    return
        self.close()
        self._hole = True

    def read(self) -> Chunk | None:
        """Return the next lines, or None when there is nothing new."""
        if self._descriptor < 0 and not self._open(self._path, 0):
            return None
        data = os.pread(self._descriptor, _AT_ONCE, self._position)
        if not data and not (data := self._follow()):
            return None
        return self._take(data)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _open(self, path: Path, position: int) -> bool:
        self.close()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return False
        self._inode = os.fstat(self._descriptor).st_ino
        self._position, self._partial, self._tail = position, b"", b""
        return True

    def _follow(self) -> bytes:
        """At the end of the file: return what its truncation or the next file has to read, if anything."""
        if os.fstat(self._descriptor).st_size < self._position:
            self._give_up_partial()
            self._position, self._tail, self._hole = 0, b"", True
            return os.pread(self._descriptor, _AT_ONCE, 0)
        if self._is_current() or not (following := self._next_generation()):
            return b""
        # The next file has lines, so this one has its last: but they may have come since we looked.
        if rest := os.pread(self._descriptor, _AT_ONCE, self._position):
            return rest
        self._give_up_partial()
        return os.pread(self._descriptor, _AT_ONCE, 0) if self._open(following, 0) else b""

    def _take(self, data: bytes) -> Chunk | None:
        self._position += len(data)
        whole, newline, rest = (self._partial + data).rpartition(b"\n")
        if not newline and len(rest) < _AT_ONCE:
            self._partial = rest
            return None
        if not newline:
            whole, rest = rest, b""
            self._cut += 1
        self._partial = rest
        self._tail = (self._tail + whole + newline)[-_TAIL:]
        lines = whole.split(b"\n") if newline else []
        chunk = Chunk(lines, self._inode, self._position - len(rest), self._tail, self._cut, self._hole)
        self._cut, self._hole = 0, False
        return chunk

    def _give_up_partial(self) -> None:
        if self._partial:
            self._cut += 1
            self._partial = b""

    def _is_current(self) -> bool:
        now = _stat(self._path)
        return now is None or now.st_ino == self._inode

    def _generations(self) -> list[tuple[Path, os.stat_result]]:
        """Return the rotated, uncompressed files, oldest first, and then the log itself."""
        beside = [path for path in self._path.parent.glob(f"{self._path.name}*") if path.suffix not in _COMPRESSED]
        there = [(path, status) for path in beside if (status := _stat(path)) is not None]
        return sorted(there, key=lambda each: (each[0] == self._path, each[1].st_mtime_ns))

    def _next_generation(self) -> Path | None:
        """Return the file that follows the present one, once it has lines."""
        generations = self._generations()
        inodes = [status.st_ino for _, status in generations]
        after = generations[inodes.index(self._inode) + 1 :] if self._inode in inodes else generations[-1:]
        return next((path for path, status in after if status.st_size > 0), None)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
