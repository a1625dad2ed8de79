"""Rules that an installation brings along take the place of those shipped."""

import json
from pathlib import Path

import pytest

from control_plane.operators.rule_files import RuleFiles
from control_plane.processes import worker
from control_plane.settings import Settings

_TIMES = {"for_seconds": 1, "well_seconds": 1}
ALERTS = [{"name": "disk_half", "check": "disk", "states": ["warn"], "severity": "notice", "hides": [], **_TIMES}]
HEALING = [{"name": "half_full", "act": "shed_disk", "where": "disk_used_ratio > 0.5", "budget": 1, **_TIMES}]


def written(path: Path, what: object) -> Path:
    path.write_text(json.dumps(what))
    return path


def test_alerts_are_named_by_the_rules_shipped_and_by_what_self_healing_tells() -> None:
    names = RuleFiles().names_of_alerts()
    assert {"unreachable", "healing.listed", "healing.mail_server_down.spent"} <= names
    assert "listed" not in names


def test_rules_of_ones_own_are_the_only_ones(tmp_path: Path) -> None:
    files = RuleFiles(written(tmp_path / "alerts", ALERTS), written(tmp_path / "healing", HEALING))
    assert files.names_of_healing() == {"half_full"}
    assert files.names_of_alerts() == {"disk_half", "healing.half_full", "healing.half_full.spent"}


@pytest.mark.parametrize("setting", ["alert_rules_file", "healing_rules_file"])
async def test_a_worker_goes_by_the_rules_that_its_settings_name_or_not_at_all(tmp_path: Path, setting: str) -> None:
    (tmp_path / "sealing.key").write_bytes(bytes(32))
    (tmp_path / "sealing.key").chmod(0o600)
    known = {"state_dir": tmp_path, "system_database_url": "postgresql://penguin_system@/nowhere"}
    settings = Settings.model_validate({**known, setting: written(tmp_path / "rules.json", [{"no": "rule"}])})
    with pytest.raises(ValueError, match=r"rules\.json"):
        await worker.serve(settings)
