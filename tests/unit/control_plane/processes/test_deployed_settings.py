"""The files of deploy/ name settings that exist, and credentials that some service is given."""

import re
from pathlib import Path

from pydantic import SecretStr

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


def test_each_service_has_its_credentials_and_each_credential_is_a_setting() -> None:
    services = {unit.name.removesuffix(".service").rstrip("@") for unit in (DEPLOY / "systemd").glob("*.service")}
    assert set(GIVEN) == services
    for names in GIVEN.values():
        assert {name for name in names if name != SEALING_KEY} <= set(Settings.model_fields)


def test_only_the_tenants_doors_are_without_the_system_role_and_nobody_else_has_its_roles() -> None:
    doors = ["penguinmails-api", "penguinmails-submission"]
    assert [service for service, names in GIVEN.items() if "system_database_url" not in names] == doors
    assert [service for service, names in GIVEN.items() if "api_database_url" in names] == doors
    assert [service for service, names in GIVEN.items() if "identity_database_url" in names] == ["penguinmails-api"]
