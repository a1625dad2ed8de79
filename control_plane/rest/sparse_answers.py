"""Say in OpenAPI what an answer is of which only some `fields` were asked for: the same, with nothing required."""

from typing import Any

_PREFIX = "#/components/schemas/"


def describe_sparse_answers(document: dict[str, Any]) -> None:
    """Add, to the answer of each operation that takes `fields`, the form in which any of them may be left out."""
    schemas = document["components"]["schemas"]
    for item in document["paths"].values():
        operation = item.get("get", {})
        if any(each["name"] == "fields" for each in operation.get("parameters", [])):
            content = operation["responses"]["200"]["content"]["application/json"]
            content["schema"] = {"anyOf": [content["schema"], {"$ref": _sparse(schemas, content["schema"]["$ref"])}]}


def _sparse(schemas: dict[str, Any], reference: str) -> str:
    """Return the reference to the sparse form; of a page, whose own members are always there, that of its things."""
    name = reference.removeprefix(_PREFIX)
    whole = schemas[name]
    sparse = {key: value for key, value in whole.items() if key != "required"}
    if "items" in whole["properties"]:
        things = whole["properties"]["items"]
        element = {"$ref": _sparse(schemas, things["items"]["$ref"])}
        properties = {**whole["properties"], "items": {**things, "items": element}}
        sparse = {**whole, "properties": properties}
    schemas[f"{name}Fields"] = {**sparse, "title": f"{name}Fields"}
    return f"{_PREFIX}{name}Fields"
