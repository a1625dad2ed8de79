"""Give each operation in OpenAPI an example of its request and of its success, made from the schemas and the story."""

from collections.abc import Mapping
from typing import Any

from control_plane.rest.story import IDS, STORY
from control_plane.rest.story_ids import MOMENT

_PREFIX = "#/components/schemas/"
_JSON = "application/json"
_Schema = Mapping[str, Any]


class Unknown(LookupError):
    """The story says nothing of a property."""


def describe_examples(document: dict[str, Any]) -> None:
    """Add the examples; one that the story does not tell stays out, and a test misses it."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in IDS:
                    parameter["example"] = IDS[parameter["name"]]
            _describe(document, operation.get("requestBody", {}), sent=True)
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    _describe(document, answer, sent=False)


def _describe(document: _Schema, part: _Schema, *, sent: bool) -> None:
    content = part.get("content", {}).get(_JSON)
    if content and content.get("schema") and "example" not in content:
        try:
            content["example"] = _Examples(document, sent=sent).of(content["schema"])
        except Unknown:
            return


class _Examples:
    """Makes examples of what is sent, which says what it must, or of what is answered, which says all."""

    def __init__(self, document: _Schema, *, sent: bool) -> None:
        self._schemas: _Schema = document["components"]["schemas"]
        self._sent = sent

    def of(self, schema: _Schema) -> Any:  # noqa: ANN401 - JSON
        """Return the example of a body; raise `Unknown`."""
        return self._value(schema, "", "")

    def _value(self, schema: _Schema, model: str, name: str) -> Any:  # noqa: ANN401 - JSON
        own = f"{model}.{name}"
        if own in STORY:
            return STORY[own]
        variants = _variants(schema)
        if given := [value for each in (schema, *variants) for value in _given(each)]:
            return given[0]
        nullable = any(each.get("type") == "null" for each in variants)
        return self._of_variant(variants[0], name, nullable=nullable)

    def _of_variant(self, schema: _Schema, name: str, *, nullable: bool) -> Any:  # noqa: ANN401 - JSON
        if "$ref" in schema:
            title = schema["$ref"].removeprefix(_PREFIX)
            return self._of_model(self._schemas[title], _label(title), name)
        if "properties" in schema:
            return self._of_model(schema, "", name)
        if "const" in schema or "enum" in schema:
            return _chosen([schema["const"]] if "const" in schema else schema["enum"], name)
        if schema.get("type") == "array" and _has_model(schema["items"]):
            return [self._value(schema["items"], "", name)]
        return None if nullable and name not in STORY else _plain(schema, name)

    def _of_model(self, schema: _Schema, model: str, name: str) -> Any:  # noqa: ANN401 - JSON
        if "properties" not in schema:
            return self._value(schema, "", name)
        for given in _given(schema):
            return self._completed(schema, given)
        required = schema.get("required", [])
        return {
            each: self._value(described, model, each)
            for each, described in schema["properties"].items()
            if not self._sent or each in required or f"{model}.{each}" in STORY
        }

    def _completed(self, schema: _Schema, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return an example of a model's own with what is null in it: the framework leaves that out."""
        if "$ref" in schema:
            return self._completed(self._schemas[schema["$ref"].removeprefix(_PREFIX)], value)
        if isinstance(value, list):
            return [self._completed(schema.get("items", {}), each) for each in value]
        if not isinstance(value, dict) or "properties" not in schema:
            return value
        known = schema["properties"]
        given = {name: self._completed(_variants(known.get(name, {}))[0], each) for name, each in value.items()}
        return dict.fromkeys(schema.get("required", [])) | given


def _label(title: str) -> str:
    """Return what the story calls a model: by its module too, where there is another of that name."""
    return title.removeprefix("control_plane__rest__").replace("__", ".")


def _variants(schema: _Schema) -> list[_Schema]:
    return [*schema.get("anyOf", []), *schema.get("oneOf", [])] or [schema]


def _given(schema: _Schema) -> list[Any]:
    return [*schema.get("examples", []), *([schema["example"]] if "example" in schema else [])]


def _has_model(schema: _Schema) -> bool:
    return any("$ref" in each for each in _variants(schema))


def _chosen(values: list[Any], name: str) -> Any:  # noqa: ANN401 - JSON
    return STORY[name] if STORY.get(name) in values else values[0]


def _plain(schema: _Schema, name: str) -> Any:  # noqa: ANN401 - JSON
    if "default" in schema:
        return schema["default"]
    if name in STORY:
        return STORY[name]
    if schema.get("format") == "date-time":
        return MOMENT
    if schema.get("type") == "boolean":
        return False
    if schema.get("type") == "array":
        return []
    raise Unknown(name)
