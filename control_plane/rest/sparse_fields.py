"""`fields`: show only these of a thing's fields, or of each thing's in a list."""

import json
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from control_plane.errors import InvalidInput

#: Characters of the parameter.
LONGEST = 2000


def known_fields(model: object) -> frozenset[str]:
    """Return the names that can be asked for of what a route returns; none when that is no object."""
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return frozenset()
    fields = model.model_fields
    if "items" in fields:
        [element] = get_args(fields["items"].annotation) or (None,)
        return known_fields(element)
    return frozenset(fields)


def pattern_of(known: frozenset[str]) -> str:
    """Return what the parameter looks like, for OpenAPI."""
    one = f"({'|'.join(sorted(known))})"
    return f"^{one}(,{one})*$"


def parse_fields(values: Sequence[str], known: frozenset[str]) -> frozenset[str] | None:
    """Return the names in `fields=a,b`, None when there is no such parameter; raise `InvalidInput` for unknown ones."""
    if not values:
        return None
    if sum(map(len, values)) > LONGEST:
        raise InvalidInput(f"fields has {LONGEST} characters at most.", "query/fields")
    names = frozenset(name for value in values for name in value.split(","))
    if unknown := sorted(names - known):
        told = ", ".join(repr(name[:50]) for name in unknown[:5])
        raise InvalidInput(f"There is no field {told}; there are {', '.join(sorted(known))}.", "query/fields")
    return names


def project(content: bytes, names: frozenset[str]) -> bytes:
    """Return JSON with the named fields alone; what belongs to a page stays."""
    parsed = json.loads(content)
    if "items" in parsed:
        parsed["items"] = [_only(item, names) for item in parsed["items"]]
    else:
        parsed = _only(parsed, names)
    return json.dumps(parsed, ensure_ascii=False, separators=(",", ":")).encode()


def _only(thing: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if name in names}
