"""Each operation of both doors has examples, and they are what its schema says."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs


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
