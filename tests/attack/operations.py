"""The operations that a door offers, as its OpenAPI document tells them, and requests that are fit for each."""

import datetime as dt
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

Schema = Mapping[str, Any]

_IN_PATH = re.compile(r"\{(\w+)(?::\w+)?\}")
#: Bodies that a schema does not tell whole.
_BODIES: Mapping[tuple[str, str], Any] = {}
#: What a text must be like that has a pattern or is judged by more than its schema, by the property's name.
_TEXTS: Mapping[str, str] = {
    "address": "somebody@nobodys.example",
    "email_address": "somebody@nobodys.example",
    "to": "somebody@nobodys.example",
    "role": "member",
    "url": "https://hooks.example.com/",
    "code": "123456",
    "token": "a" * 30,
    "refresh_token": "a" * 30,
    "password": "correct horse battery",
    "current_password": "correct horse battery",
    "kind": "manual",
}
#: What holds an id and is not called so.
_IDS_BY_ANOTHER_NAME = frozenset({"of", "after"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; `names` are those of the path's parameters."""

    method: str
    path: str
    opens_to: str
    names: tuple[str, ...]
    #: Query parameters that may hold an id or a cursor.
    queries: tuple[str, ...]
    body: Any
    #: Where the body may hold an id: steps from its root.
    places: tuple[tuple[str | int, ...], ...]
    title: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def filled(self, values: Mapping[str, object]) -> str:
        """Return the path with its parameters, below the door: with the slash, or a colon in it would end a scheme."""
        return _IN_PATH.sub(lambda match: str(values[match[1]]), self.path)


def operations_of(app: FastAPI, prefix: str, mark: str) -> list[Operation]:
    """Return the operations below a prefix; `mark` is what says to whom each opens."""
    document = app.openapi()
    return [
        _operation(document, method.upper(), path.removeprefix(prefix), told, mark)
        for path, methods in document["paths"].items()
        if path.startswith(prefix + "/")
        for method, told in methods.items()
    ]


def with_value(body: Any, place: tuple[str | int, ...], value: object) -> Any:  # noqa: ANN401 - JSON
    """Return a body with another value at one place, which need not be there yet."""
    if not place:
        return value
    step, *rest = place
    if isinstance(step, int):
        return [with_value(body[0] if body else {}, tuple(rest), value)]
    return {**(body or {}), step: with_value((body or {}).get(step), tuple(rest), value)}


def _operation(document: Schema, method: str, path: str, told: Schema, mark: str) -> Operation:
    content = told.get("requestBody", {}).get("content", {})
    schema = next((each["schema"] for each in content.values()), None)
    parameters = told.get("parameters", [])
    return Operation(
        method=method,
        path=path,
        opens_to=told.get(mark, ""),
        names=tuple(_IN_PATH.findall(path)),
        queries=tuple(each["name"] for each in parameters if each["in"] == "query" and _may_hold_id(document, each)),
        body=_BODIES.get((method, path), None if schema is None else _example(document, schema)),
        places=() if schema is None else tuple(_places(document, schema)),
    )


def _resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _variants(document: Schema, schema: Schema) -> list[Schema]:
    """Return what a schema may be but null."""
    resolved = _resolved(document, schema)
    several = [each for name in ("anyOf", "oneOf") for each in resolved.get(name, [])]
    variants = [variant for each in several for variant in _variants(document, each)] or [resolved]
    return [each for each in variants if each.get("type") != "null"] or [resolved]


def _may_hold_id(document: Schema, parameter: Schema) -> bool:
    schemas = _variants(document, parameter["schema"])
    return any(each.get("format") == "uuid" for each in schemas) or parameter["name"].endswith(("_id", "after"))


def _places(document: Schema, schema: Schema, *, name: str = "") -> Iterator[tuple[str | int, ...]]:
    for variant in _variants(document, schema):
        named = name.endswith("_id") or name in _IDS_BY_ANOTHER_NAME
        if variant.get("format") == "uuid" or (named and variant.get("type") == "string"):
            yield ()
        if variant.get("type") == "array":
            yield from ((0, *place) for place in _places(document, variant.get("items", {}), name=name))
        for own, property_schema in variant.get("properties", {}).items():
            yield from ((own, *place) for place in _places(document, property_schema, name=own))


def _example(document: Schema, schema: Schema, name: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return the least that is valid; what a schema gives as an example is taken as it is."""
    given = _resolved(document, schema)
    resolved = _variants(document, schema)[0]
    told = [*given.get("examples", []), *resolved.get("examples", [])]
    told += [resolved["const"]] if "const" in resolved else []
    told += [each for each in resolved.get("enum", []) if each == _TEXTS.get(name)] + resolved.get("enum", [])
    if told:
        return told[0]
    kind = resolved.get("type")
    if kind == "object":
        known = resolved.get("properties", {})
        required = resolved.get("required", []) or list(known)[: resolved.get("minProperties", 0)]
        return {each: _example(document, known[each], each) for each in required}
    if kind == "array":
        return [_example(document, resolved.get("items", {}), name)] * max(1, resolved.get("minItems", 1))
    if kind in {"integer", "number"}:
        return max(1, resolved.get("minimum", 1))
    return True if kind == "boolean" else _text(resolved, name)


def _text(schema: Schema, name: str) -> str:
    match schema.get("format"):
        case "uuid":
            return str(uuid.UUID(int=1))
        case "date-time":
            return (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    return _TEXTS.get(name, "a" * max(3, schema.get("minLength", 3)))
