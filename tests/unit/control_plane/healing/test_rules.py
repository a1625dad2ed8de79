import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.healing.rules import HealingAct, read_rules

GOOD: dict[str, Any] = {
    "name": "full",
    "act": "shed_disk",
    "where": "disk_used_ratio > 0.9",
    "for_seconds": 1,
    "well_seconds": 1,
    "budget": 1,
}


def written(folder: Path, *rules: dict[str, Any]) -> Path:
    path = folder / "rules.json"
    path.write_text(json.dumps(rules))
    return path


def test_the_shipped_rules_use_every_act_there_is() -> None:
    assert {rule.act for rule in read_rules()} == set(HealingAct)


def test_a_daemon_is_restarted_three_times_an_hour_at_most() -> None:
    assert [rule.budget for rule in read_rules() if rule.act is HealingAct.RESTART_MAIL_SERVER] == [3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"act": "reboot"},
        {"where": "disk_used_ratio > "},
        {"where": "secret > 1"},
        {"budget": 0},
        {"for_seconds": -1},
        {"name": "Full disk"},
        {"states": ["fail"]},
        {"check": "disk"},
        {"check": "disk", "states": ["ok"]},
        {"check": "weather", "states": ["fail"]},
        {"sometimes": True},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    assert len(read_rules(written(tmp_path, GOOD))) == 1
    with pytest.raises(ValueError, match=r"rule|scope|not a valid"):
        read_rules(written(tmp_path, GOOD | wrong))


def test_a_rule_without_a_condition_and_one_that_comes_twice_are_refused(tmp_path: Path) -> None:
    without = {name: value for name, value in GOOD.items() if name != "where"}
    for rules in ([without], [GOOD, GOOD]):
        with pytest.raises(ValueError, match=r"makes no sense|twice"):
            read_rules(written(tmp_path, *rules))
