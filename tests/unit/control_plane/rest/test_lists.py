"""What answers with a list answers in pages."""

from collections.abc import Iterator
from typing import Any

#: What is a few things by its nature; and what Prometheus asks for, whose form is not ours.
WHOLE = {
    "/api/v1/vps/{vps_id}/addresses",
    "/api/v1/vps/{vps_id}/health/reports",
    "/operator/v1/fleet/settings",
    "/operator/v1/fleet/upgrades/{upgrade_id}/differences",
    "/operator/v1/prometheus/targets",
}


def lists(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """Yield path, operation and the fields of the page of all that answers with a list."""
    for path, item in document["paths"].items():
        schema = shown(document, item.get("get", {"responses": {}}))
        if schema.get("type") == "array" or "items" in schema.get("properties", {}):
            yield path, item["get"], set(schema.get("properties", {}))


def shown(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    schema: dict[str, Any] = answer.get("schema", {})
    # With `fields` there are two forms, and the first is the whole one.
    schema = schema.get("anyOf", [schema])[0]
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def test_each_list_goes_on_where_its_page_ends(document: dict[str, Any]) -> None:
    found = {path: (operation, fields) for path, operation, fields in lists(document) if path not in WHOLE}
    assert len(found) > 10
    for path, (operation, fields) in found.items():
        taken = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        assert "next" in fields, path
        assert {"after", "limit"} <= taken, path
