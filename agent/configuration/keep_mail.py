"""Keep a server's mail over a rebuild: pack it before, and put it back where the new system has none yet.

From the moment it is packed until the server is empty nothing may change the mail: Postfix and Dovecot are stopped, and
`check` sees whether that held. Mail servers that find the port closed try again for days (RFC 5321 section 4.5.4.1).

SECURITY: runs as root. The key arrives with the command and is not kept; the archive is for root alone. Nothing but the
number of a block is taken from a command to find a file.
"""

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent.configuration.told import Refused, Told
from mailstack import layout
from mailstack.apply.host import CommandFailed, Host, must_run
from mailstack.apply.mail_archive import (
    BLOCK,
    BadArchive,
    Packed,
    Tree,
    pack,
    read_block,
    size_of,
    tree_of,
    unpack,
    write_block,
)
from mailstack.apply.plan import ORDER
from mailstack.checking import CommandOutput
from mailstack.rendered_file import Service
from protos.agent.v1.commands_pb2 import CheckPackedMail, Command, PackMail, UnpackMail, WriteMailBlock

_KEY_BYTES = 32
#: Blocks of an archive of a tebibyte: more is a mistake.
_MOST_BLOCKS = (1 << 40) // BLOCK
#: Beside the mail itself a tar has half a KiB and padding for each file; this much stays free for the system.
_SPARE_BYTES = 256 * 1024 * 1024
_MAIL_SERVICES = (Service.POSTFIX, Service.DOVECOT)


@dataclass(frozen=True, slots=True)
class MailKeeper:
    """The deed `keep_mail`; the places and the owner are others only in tests."""

    root: Path = Path(layout.MAIL_ROOT)
    archive: Path = Path(layout.MAIL_ARCHIVE)
    owner: int = layout.MAIL_USER_ID

    def __call__(self, command: Command, host: Host) -> str | Told:
        """Do one step. Raises `Refused`, `CommandFailed` and `OSError`."""
        asked = command.keep_mail
        try:
            match asked.WhichOneof("step"):
                case "pack":
                    return self._pack(asked.pack, host)
                case "read_block":
                    return self._read(asked.read_block)
                case "check":
                    return self._check(asked.check, host)
                case "discard":
                    return self._discard(host)
                case "write_block":
                    return self._write(asked.write_block)
                case "unpack":
                    return self._unpack(asked.unpack)
        except BadArchive as error:
            raise Refused(str(error)) from None
        raise Refused("that is no step of keeping mail")

    def _pack(self, asked: PackMail, host: Host) -> Told:
        _require_key(asked.key)
        self._require_room(asked.most_size)
        try:
            host.stop(Service.POSTFIX)
            _require_empty_queue(host)
            host.stop(Service.DOVECOT)
            packed = pack(self.root, self.archive, asked.key)
        except BaseException:
            _start(host)
            raise
        output = {
            "size": packed.size,
            "sha256": packed.sha256,
            "files": packed.tree.files,
            "tree_size": packed.tree.size,
            "tree_sha256": packed.tree.sha256,
        }
        return Told(f"packed {packed.tree.files} files of mail", json.dumps(output))

    def _require_room(self, most_size: int) -> None:
        size = size_of(self.root)
        if size > most_size:
            raise Refused(f"the server has {size:,} octets of mail; at most {most_size:,} can be kept")
        free = shutil.disk_usage(_existing(self.archive)).free
        if free < size + size // 4 + _SPARE_BYTES:
            raise Refused(f"{free:,} octets are free on its disk, which is too little to pack {size:,} octets of mail")

    def _read(self, number: int) -> Told:
        if number > _MOST_BLOCKS:
            raise Refused("no archive has so many blocks")
        return Told(f"read block {number}", base64.b64encode(read_block(self.archive, number)).decode())

    def _check(self, asked: CheckPackedMail, host: Host) -> str:
        if running := host.running(_MAIL_SERVICES):
            names = " and ".join(sorted(service.value for service in running))
            raise Refused(f"the mail may have changed since it was packed: {names} runs")
        if tree_of(self.root).sha256 != asked.tree_sha256:
            raise Refused("the mail has changed since it was packed")
        return "the mail is what was packed"

    def _discard(self, host: Host) -> str:
        self.archive.unlink(missing_ok=True)
        _start(host)
        return "the mail server runs again"

    def _write(self, asked: WriteMailBlock) -> str:
        if asked.number > _MOST_BLOCKS or len(asked.block) > BLOCK:
            raise Refused("that is no block of an archive")
        write_block(self.archive, asked.number, asked.block)
        return f"wrote block {asked.number}"

    def _unpack(self, asked: UnpackMail) -> str:
        _require_key(asked.key)
        expected = Packed(asked.size, asked.sha256, Tree(asked.files, asked.tree_size, asked.tree_sha256))
        unpack(self.archive, asked.key, self.root, expected, self.owner)
        self.archive.unlink(missing_ok=True)
        return f"unpacked {asked.files} files of mail"


def _require_key(key: bytes) -> None:
    if len(key) != _KEY_BYTES:
        raise Refused(f"the key has {len(key)} octets, not {_KEY_BYTES}")


def _require_empty_queue(host: Host) -> None:
    """See that nothing is left in a Postfix that is stopped: for root, postqueue(1) reads the queue itself."""
    argv = ["postqueue", "-j"]
    if count := len(must_run(host, argv).stdout.splitlines()):
        raise CommandFailed(argv, CommandOutput(0, "", f"Postfix's queue still has {count} messages"))


def _start(host: Host) -> None:
    for service in ORDER:
        host.restart(service)


def _existing(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.exists())
