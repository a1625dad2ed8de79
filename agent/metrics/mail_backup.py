"""What came of the last backup of the mailboxes and of the last restore, as penguin-backup wrote it down."""

from typing import Any

from protos.agent.v1.telemetry_pb2 import MailBackupStatus, MailRestore

_MOST_CHARACTERS = 500


def mail_backup(kept: dict[str, Any]) -> MailBackupStatus:
    """Return what its file (agent/backup/status.py) says. Raises `KeyError`, `TypeError` or `ValueError`."""
    told = MailBackupStatus(
        ended_ms=int(kept["ended"] * 1000),
        good_ms=int(kept["good"] * 1000),
        mailboxes=kept["mailboxes"],
        detail=str(kept["detail"])[:_MOST_CHARACTERS],
    )
    if kept["restore_id"]:
        told.restore.CopyFrom(
            MailRestore(
                id=str(kept["restore_id"]),
                ok=bool(kept["restore_ok"]),
                detail=str(kept["restore_detail"])[:_MOST_CHARACTERS],
                ended_ms=int(kept["restore_ended"] * 1000),
            )
        )
    return told
