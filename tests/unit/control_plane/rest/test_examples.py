"""Each operation of both doors has examples, and they are what its schema says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from control_plane.rest.app import make_app
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings

NOWHERE = "postgresql://nobody@nowhere/penguin"


@pytest.fixture(scope="module", params=[make_app, make_operators_app], ids=["tenants", "operators"])
def document(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    state: Path = tmp_path_factory.mktemp("state")
    settings = {"state_dir": state, "api_database_url": NOWHERE, "system_database_url": NOWHERE}
    openapi: dict[str, Any] = request.param(Settings.model_validate(settings)).openapi()
    return openapi


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is sent and what succeeds, as far as it is JSON."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = {status: each for status, each in operation["responses"].items() if status.startswith("2")}
            for where, part in {"request": operation.get("requestBody", {}), **answers}.items():
                content = part.get("content", {}).get("application/json", {})
                if "schema" in content:
                    yield f"{method.upper()} {path} {where}", content


def test_each_operation_has_examples(document: dict[str, Any]) -> None:
    assert [where for where, content in bodies(document) if "example" not in content] == []


def test_each_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    wrong = []
    for where, content in bodies(document):
        schema = {**content["schema"], "components": document["components"]}
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
        wrong += [f"{where}: {error.message}" for error in validator.iter_errors(content.get("example"))]
    assert wrong == []


def test_each_thing_in_a_path_has_an_example(document: dict[str, Any]) -> None:
    named = [
        (path, parameter)
        for path, methods in document["paths"].items()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    ]
    assert [(path, parameter["name"]) for path, parameter in named if "example" not in parameter] == []
