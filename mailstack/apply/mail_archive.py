"""All mail of a server as one sealed file, and back: what a rebuild keeps.

The file is a row of blocks of `BLOCK` octets (the last may be shorter), so that it can be carried piece by piece. Each
is `nonce (12 octets) | AES-256-GCM of a piece of the tar`, bound to its number and to whether it is the last: a block
that is altered, missing or in another's place does not open.

SECURITY: root reads and writes below a directory whose files belong to the mail account, and no service runs meanwhile.
Only regular files and directories are packed and unpacked; a link would have root follow it.
"""

import hashlib
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Octets of a sealed block: as base64 exactly what a command's output may hold.
BLOCK = 192 * 1024
_NONCE = 12
_PLAIN = BLOCK - _NONCE - 16
_READ = 1024 * 1024


class BadArchive(Exception):
    """The message says what is wrong with the archive, or with what was to be packed."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a directory holds: `sha256` is of each file's path, length and content, in order of the paths."""

    files: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Packed:
    """A sealed archive: its length in octets, its SHA-256, and what was packed."""

    size: int
    sha256: str
    tree: Tree


def size_of(root: Path) -> int:
    """Return the octets of all files below `root`; 0 where there is none."""
    return sum(path.lstat().st_size for path, is_file in _walk(root) if is_file)


def tree_of(root: Path) -> Tree:
    """Read all files below `root`. Raises `BadArchive` and `OSError`."""
    digest, files, size = hashlib.sha256(), 0, 0
    for path, is_file in _walk(root):
        if is_file:
            content = _sha256(path)
            length = path.lstat().st_size
            digest.update(f"{path.relative_to(root)}\0{length}\0{content}\n".encode("utf-8", "surrogateescape"))
            files, size = files + 1, size + length
    return Tree(files, size, digest.hexdigest())


def pack(root: Path, archive: Path, key: bytes) -> Packed:
    """Write all below `root` into a new archive, sealed with the 256-bit `key`. Raises `BadArchive` and `OSError`."""
    archive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with _Sealing(file, key) as sealing, tarfile.open(fileobj=sealing, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for path, is_file in _walk(root):
                _add(tar, path, str(path.relative_to(root)), is_file=is_file)
        file.flush()
        os.fsync(file.fileno())
    return Packed(archive.stat().st_size, _sha256(archive), tree_of(root))


def unpack(archive: Path, key: bytes, root: Path, expected: Packed, owner: int) -> None:
    """Put what was packed into its place, whole; nothing happens when it is there already.

    Everything gets the account `owner`. Raises `BadArchive` when the archive is not `expected`, or when other mail is
    in its place, and `OSError`.
    """
    if root.exists() and tree_of(root) == expected.tree and (expected.tree.files or not archive.exists()):
        return
    if next(_files(root), None) is not None:
        raise BadArchive(f"there is other mail in {root}")
    if not archive.exists() or _sha256(archive) != expected.sha256:
        raise BadArchive("the archive did not arrive as it was sent")
    beside = root.with_name(f"{root.name}.restoring")
    shutil.rmtree(beside, ignore_errors=True)
    _unpack_beside(archive, key, beside, owner)
    if tree_of(beside) != expected.tree:
        raise BadArchive("what was unpacked is not what was packed")
    shutil.rmtree(root, ignore_errors=True)
    beside.rename(root)


def read_block(archive: Path, number: int) -> bytes:
    """Return one block of an archive; empty after its end. Raises `OSError`."""
    with archive.open("rb") as file:
        return os.pread(file.fileno(), BLOCK, number * BLOCK)


def write_block(archive: Path, number: int, block: bytes) -> None:
    """Write one block of an archive that arrives piece by piece, in any order. Raises `OSError`."""
    archive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, block, number * BLOCK)
    finally:
        os.close(descriptor)


def _unpack_beside(archive: Path, key: bytes, beside: Path, owner: int) -> None:
    beside.mkdir(mode=0o750, parents=True)
    os.chown(beside, owner, owner)
    try:
        with (
            archive.open("rb") as file,
            io.BufferedReader(_Opening(file, key), _PLAIN) as opening,
            tarfile.open(fileobj=opening, mode="r|") as tar,
        ):
            for member in tar:
                _extract(tar, member, beside, owner)
    except (InvalidTag, tarfile.TarError):
        raise BadArchive("the archive does not open") from None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, beside: Path, owner: int) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
        raise BadArchive("the archive holds what is neither a file nor a directory of mail")
    place = beside / name
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
    elif (content := tar.extractfile(member)) is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            shutil.copyfileobj(content, file, _READ)
            file.flush()
            os.fsync(file.fileno())
    os.chown(place, owner, owner)
    place.chmod(member.mode & 0o777)
    # IMAP's INTERNALDATE is a message file's time.
    os.utime(place, (member.mtime, member.mtime))


def _add(tar: tarfile.TarFile, path: Path, name: str, *, is_file: bool) -> None:
    """Add one by one, so that a message that Dovecot has linked into two folders is two files."""
    status = path.lstat()
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = status.st_mode & 0o777, status.st_mtime
    if is_file:
        member.size = status.st_size
        with path.open("rb") as content:
            tar.addfile(member, content)
    else:
        member.type = tarfile.DIRTYPE
        tar.addfile(member)


def _files(root: Path) -> Iterator[Path]:
    return (path for path, is_file in _walk(root) if is_file)


def _walk(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield all below `root` in the order of their paths, and whether each is a file."""
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield path, False
            yield from _walk(path)
        elif stat.S_ISREG(mode):
            yield path, True
        else:
            raise BadArchive(f"{path} is neither a file nor a directory")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bound_to(number: int, *, is_last: bool) -> bytes:
    return b"penguin mail %d %d" % (number, is_last)


class _Sealing(io.RawIOBase):
    """Takes the tar, and writes blocks; the last one when it is closed."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._file, self._aead = file, AESGCM(key)
        self._number, self._waiting = 0, bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = memoryview(data)  # type: ignore[arg-type] # as RawIOBase declares it, any buffer
        self._waiting += taken
        # More than a block: what is left is the last one's, which is never empty.
        while len(self._waiting) > _PLAIN:
            self._seal(bytes(self._waiting[:_PLAIN]), is_last=False)
            del self._waiting[:_PLAIN]
        return taken.nbytes

    def close(self) -> None:
        if not self.closed:
            self._seal(bytes(self._waiting), is_last=True)
        super().close()

    def _seal(self, plain: bytes, *, is_last: bool) -> None:
        nonce = os.urandom(_NONCE)
        self._file.write(nonce + self._aead.encrypt(nonce, plain, _bound_to(self._number, is_last=is_last)))
        self._number += 1


class _Opening(io.RawIOBase):
    """Gives the tar back, block by block; raises `InvalidTag` for one that does not open."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._file, self._aead = file, AESGCM(key)
        self._number, self._next, self._opened = 0, file.read(BLOCK), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        into = memoryview(buffer)  # type: ignore[arg-type] # as RawIOBase declares it, any buffer
        if not self._opened and self._next:
            self._open()
        count = min(len(into), len(self._opened))
        into[:count] = self._opened[:count]
        self._opened = self._opened[count:]
        return count

    def _open(self) -> None:
        block, self._next = self._next, self._file.read(BLOCK)
        bound = _bound_to(self._number, is_last=not self._next)
        self._opened = memoryview(self._aead.decrypt(block[:_NONCE], block[_NONCE:], bound))
        self._number += 1
