"""Rules of an installation's own, as the operators' door knows them."""

import datetime as dt
from pathlib import Path

import httpx
import pytest

from control_plane.clock import utc_now
from control_plane.settings import Settings
from tests.integration.rest import problem
from tests.unit.control_plane.operators.test_rule_files import ALERTS, HEALING, written


async def silenced(operator: httpx.AsyncClient, rule: str) -> httpx.Response:
    until = (utc_now() + dt.timedelta(hours=1)).isoformat()
    return await operator.post("alerts/silences", json={"rule": rule, "until": until, "reason": "known"})


async def test_what_self_healing_tells_can_be_silenced_by_its_name(operator: httpx.AsyncClient) -> None:
    for rule in ("disk", "healing.listed", "healing.mail_server_down.spent"):
        assert (await silenced(operator, rule)).json()["rule"] == rule
    problem(await silenced(operator, "healing.mood"), 422, "invalid-input")


class TestOwnFiles:
    """Both files are the installation's."""

    @pytest.fixture
    def rest_settings(self, rest_settings: Settings, tmp_path: Path) -> Settings:
        files = {
            "alert_rules_file": written(tmp_path / "alerts.json", ALERTS),
            "healing_rules_file": written(tmp_path / "healing.json", HEALING),
        }
        return rest_settings.model_copy(update=files)

    async def test_its_rules_are_silenced_and_forbidden_and_others_are_not_known(
        self, operator: httpx.AsyncClient
    ) -> None:
        for rule in ("disk_half", "healing.half_full"):
            assert (await silenced(operator, rule)).status_code == 201
        assert (await operator.post("fleet/healing:forbid", json={"rule": "half_full"})).status_code == 204
        problem(await silenced(operator, "disk"), 422, "invalid-input")
        problem(await operator.post("fleet/healing:forbid", json={"rule": "listed"}), 422, "invalid-input")
