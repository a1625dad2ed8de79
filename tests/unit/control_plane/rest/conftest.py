from pathlib import Path
from typing import Any

import pytest

from control_plane.rest.app import make_app
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings

NOWHERE = "postgresql://nobody@nowhere/penguin"


@pytest.fixture(scope="module", params=[make_app, make_operators_app], ids=["tenants", "operators"])
def document(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI document of each door."""
    state: Path = tmp_path_factory.mktemp("state")
    settings = {"state_dir": state, "api_database_url": NOWHERE, "system_database_url": NOWHERE}
    openapi: dict[str, Any] = request.param(Settings.model_validate(settings)).openapi()
    return openapi
