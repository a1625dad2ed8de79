from dataclasses import replace
from pathlib import Path

from agent.backup import status
from agent.backup.status import Status
from agent.metrics.mail_backup import mail_backup
from agent.metrics.status_file import StatusFile
from agent.status_writer import write_status


def test_what_penguin_backup_wrote_down_is_told(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "status.json", mail_backup)
    backed_up = Status(ended=20.5, good=10.0, mailboxes=3, detail="restic backup failed (1): no space")
    write_status(tmp_path / "status.json", backed_up)
    assert file.seen_change()
    told = file.told
    assert told is not None
    assert (told.ended_ms, told.good_ms, told.mailboxes, told.detail) == (20_500, 10_000, 3, backed_up.detail)
    assert not told.HasField("restore")

    brought = replace(backed_up, restore_id="c0ffee", restore_ok=True, restore_ended=30.0, restore_detail="it is back")
    write_status(tmp_path / "status.json", brought)
    assert file.seen_change()
    told = file.told
    assert told is not None
    assert (told.restore.id, told.restore.ok, told.restore.detail) == ("c0ffee", True, "it is back")
    assert status.load(tmp_path / "status.json") == brought
