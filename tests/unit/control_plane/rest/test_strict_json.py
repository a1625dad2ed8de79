"""Whatever takes JSON takes it as RFC 8259 has it: no name twice, no NaN. It is refused before anybody is asked for."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from control_plane.rest.app import make_app
from control_plane.rest.operators.app import make_operators_app
from control_plane.rest.ses.app import PREFIX, make_ses_app
from control_plane.settings import Settings

NOWHERE = "postgresql://nobody@nowhere/penguin"
URLS = ("api_database_url", "identity_database_url", "system_database_url")
SOME_ID = "00000000-0000-0000-0000-000000000001"
BODIES = {'{"name": "one", "name": "two"}': "comes twice", '{"name": NaN}': "NaN is no JSON"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate({"state_dir": tmp_path, **dict.fromkeys(URLS, NOWHERE)})


@pytest.mark.parametrize("make", [make_app, make_operators_app], ids=["tenants", "operators"])
async def test_each_operation_with_a_body_takes_strict_json_alone(
    settings: Settings, make: Callable[[Settings], FastAPI]
) -> None:
    app = make(settings)
    lenient = [each for each in operations(app.openapi()) if await takes_loose_json(app, *each, 422)]
    assert lenient == []


async def test_each_operation_for_ses_clients_takes_strict_json_alone(settings: Settings) -> None:
    app = make_app(settings)
    ses = operations(make_ses_app(app.state.parts).openapi())
    assert len(ses) == 2
    assert [each for each in ses if await takes_loose_json(app, each[0], PREFIX + each[1], 400)] == []


def operations(document: dict[str, dict[str, dict[str, dict[str, object]]]]) -> list[tuple[str, str]]:
    """Return method and path of what takes a body."""
    return [
        (method, path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    ]


async def takes_loose_json(app: FastAPI, method: str, path: str, refused: int) -> bool:
    """Tell whether any loose body is answered otherwise than that it is no JSON."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://penguin.test") as client:
        for body, words in BODIES.items():
            answer = await client.request(
                method,
                re.sub(r"\{\w+\}", SOME_ID, path),
                content=body,
                headers={"Content-Type": "application/json"},
            )
            if answer.status_code != refused or words not in answer.text:
                return True
    return False
