"""The files of deploy/ name settings that exist, and credentials that some service is given."""

import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from control_plane.fleet.hearing import SILENT
from control_plane.processes.credentials import GIVEN, SEALING_KEY
from control_plane.settings import Settings

DEPLOY = Path(__file__).parents[4] / "deploy"


def test_the_environment_names_settings_and_no_secrets() -> None:
    named = {
        name.lower()
        for name in re.findall(r"^#?PENGUIN_([A-Z0-9_]+)=", (DEPLOY / "environment").read_text(), re.MULTILINE)
    }
    assert len(named) > 40
    assert named <= set(Settings.model_fields)
    assert not {name for name in named if Settings.model_fields[name].annotation is SecretStr}


@pytest.mark.parametrize("seconds", [-5, 0, 15.1, SILENT.total_seconds()])
def test_no_interval_of_reports_makes_servers_look_silent(seconds: float, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="1 validation error for Settings\nreport_interval_seconds"):
        Settings(state_dir=tmp_path, report_interval_seconds=seconds)


def test_each_service_has_its_credentials_and_each_credential_is_a_setting() -> None:
    services = {unit.name.removesuffix(".service").rstrip("@") for unit in (DEPLOY / "systemd").glob("*.service")}
    assert set(GIVEN) == services
    for names in GIVEN.values():
        assert {name for name in names if name != SEALING_KEY} <= set(Settings.model_fields)


def test_only_the_tenants_doors_are_without_the_system_role_and_nobody_else_has_its_roles() -> None:
    doors = ["penguinmails-api", "penguinmails-submission"]
    without = [service for service, names in GIVEN.items() if "system_database_url" not in names]
    assert without == [*doors, "penguinmails-backups"]
    assert GIVEN["penguinmails-backups"] == ()
    assert [service for service, names in GIVEN.items() if "api_database_url" in names] == doors
    assert [service for service, names in GIVEN.items() if "identity_database_url" in names] == ["penguinmails-api"]


def test_no_unit_sets_what_the_drop_in_sets_which_would_be_as_it_is_there() -> None:
    set_for_all = variables(DEPLOY / "systemd" / "penguinmails-.service.d" / "hardening.conf")
    assert "PENGUIN_STATE_DIR" in set_for_all
    for unit in (DEPLOY / "systemd").glob("*.service"):
        assert not variables(unit) & set_for_all, unit.name


def variables(unit: Path) -> set[str]:
    return set(re.findall(r"^Environment=([A-Z0-9_]+)=", unit.read_text(), re.MULTILINE))


def test_each_service_is_a_target_of_prometheus_where_its_unit_says_that_it_tells() -> None:
    line = re.search(r"^PENGUIN_METRICS_TARGETS=(.*)$", (DEPLOY / "environment").read_text(), re.MULTILINE)
    assert line
    listed = {target.partition("@")[0]: target.partition("@")[2] for target in json.loads(line[1])}
    for unit in (DEPLOY / "systemd").glob("*.service"):
        (told,) = re.findall(r"^Environment=PENGUIN_METRICS_LISTEN=(.*)$", unit.read_text(), re.MULTILINE)
        name = unit.name.removesuffix(".service").rstrip("@").removeprefix("penguinmails-")
        assert listed[name].partition(":")[0] == told.partition(":")[0]
        assert "%" in told or listed[name] == told
