import os
from pathlib import Path

from agent.metrics.unit_changes import UnitChanges


def test_a_unit_that_starts_or_stops_is_seen_once(tmp_path: Path) -> None:
    changes = UnitChanges(tmp_path)
    assert not changes.seen()
    (tmp_path / "invocation:postfix@-.service").symlink_to("0123")
    os.utime(tmp_path, ns=(1, 1))
    assert changes.seen()
    assert not changes.seen()


def test_without_systemd_nothing_changes(tmp_path: Path) -> None:
    changes = UnitChanges(tmp_path / "missing")
    assert not changes.seen()
