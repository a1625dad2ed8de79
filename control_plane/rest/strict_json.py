"""JSON as RFC 8259 has it and no more: no name twice in an object, no NaN and no Infinity.

Of a name that comes twice one parser takes the first and another the last: what was checked would not be what is done.
"""

import json
from typing import Any, Never

from fastapi import Request


class StrictRequest(Request):
    """A request whose JSON is strict; raises `JSONDecodeError`, which the framework tells of as what is wrong."""

    async def json(self) -> Any:  # noqa: ANN401 - as the framework has it
        """Return the body, parsed."""
        return loads(await self.body())


def loads(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse; raise `JSONDecodeError`, also for nesting that is too deep."""
    try:
        return json.loads(body, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except RecursionError:
        raise json.JSONDecodeError("The body is nested too deeply", "", 0) from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise json.JSONDecodeError("A name comes twice in one object", "", 0)
    return members


def _no_constant(name: str) -> Never:
    raise json.JSONDecodeError(f"{name} is no JSON", "", 0)
