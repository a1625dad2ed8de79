"""Orders for penguin-backup, written down for its unit, and what backups there are.

SECURITY: runs as root. An address, a server's or a snapshot's id reaches a file or a command line only when it is one.
"""

import json
import re
import sys
import uuid
from pathlib import Path

from agent.configuration.mailboxes import checked_address
from agent.configuration.told import Refused, Told
from agent.settings import Settings
from mailstack import layout
from mailstack.apply.host import CommandFailed, Host, StoredFile, must_run
from protos.agent.v1.commands_pb2 import Command

_UNIT = "penguin-backup.service"
_ASKED = Settings().backup_dir / "asked"
_PROGRAM = Path(sys.prefix) / "bin" / "penguin-backup"
_SNAPSHOT = re.compile(r"(?:[0-9a-f]{4,64})?", re.ASCII)
#: Octets; a mailbox's retention comes to some forty.
_MOST_OUTPUT = 256 * 1024


def back_up_mail(command: Command, host: Host) -> str:
    """Have all mailboxes backed up."""
    return _ask(command, host, {})


def restore_mail(command: Command, host: Host) -> str:
    """Have a mailbox brought back."""
    asked = command.restore_mail
    if not _SNAPSHOT.fullmatch(asked.snapshot):
        raise Refused("that is no snapshot's id")
    wanted = {"address": checked_address(asked.address), "snapshot": asked.snapshot, "server": _server(asked.server)}
    return _ask(command, host, {**wanted, "in_place": asked.in_place})


def list_mail_backups(command: Command, host: Host) -> Told:
    """Tell what there is of a mailbox, or of all."""
    asked = command.list_mail_backups
    words = [checked_address(asked.address)] if asked.address else []
    argv = [str(_PROGRAM), "list", *words, f"--server={_server(asked.server)}"]
    output = host.run(argv)
    if output.exit_code:
        raise CommandFailed(["penguin-backup", "list"], output)
    if len(output.stdout) > _MOST_OUTPUT:
        raise Refused("there are too many; name a mailbox")
    return Told("what there is", output.stdout)


def _ask(command: Command, host: Host, wanted: dict[str, object]) -> str:
    if not host.exists(layout.BACKUP_ORDER):
        raise Refused("mailboxes of this server are not backed up")
    asked_by = str(uuid.UUID(bytes=command.id))
    content = json.dumps({"id": asked_by, **wanted}).encode()
    host.write(f"{_ASKED}/{asked_by}.json", StoredFile(content, "root", "root", 0o600))
    # Its path unit sees the file, too, also one that comes while it ends; on a server that has only been upgraded to a
    # release with backups, that unit is not enabled.
    must_run(host, ["systemctl", "start", "--no-block", _UNIT])
    return "it is asked for"


def _server(server: str) -> str:
    """Return the id of the server whose backups are meant; nothing for this one."""
    try:
        return str(uuid.UUID(server)) if server else ""
    except ValueError:
        raise Refused("that is no server's id") from None
