from pathlib import Path

from agent.metrics.agent_upgrade import agent_upgrade
from agent.metrics.status_file import StatusFile
from agent.upgrade.order import Files, Progress, signed_manifest
from agent.upgrade.states import State


def test_what_was_written_down_is_told_once_for_each_change(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "status.json", agent_upgrade)
    assert not file.seen_change()
    assert file.told is None

    Files(tmp_path, signed_manifest).note(Progress("2-new", "1-old", State.ROLLED_BACK, "it ended 3 times"))
    assert file.seen_change()
    assert not file.seen_change()
    told = file.told
    assert told is not None
    assert (told.release, told.previous, told.state) == ("2-new", "1-old", "rolled_back")
    assert told.reason == "it ended 3 times"
    assert told.at_ms > 0


def test_a_file_of_another_form_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"release": "2-new"')
    file = StatusFile(tmp_path / "status.json", agent_upgrade)
    assert not file.seen_change()
    assert file.told is None
