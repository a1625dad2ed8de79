"""ETag, If-None-Match and If-Match (RFC 9110, sections 8.8.3 and 13).

A tag has two halves: `"<state>.<answer>"`. The first is of what callers change and decide by; the second of the whole
answer, also of what changes by itself, such as when a server was last seen. If-None-Match compares the whole, so that
304 is always true; If-Match compares the first half, so that a change is refused when somebody else changed the thing,
and not because its server reported meanwhile.

If-Match is judged in the transaction that changes, under a lock on the thing's path: of two callers that have seen the
same, one changes it, and the other is refused.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from psycopg import AsyncConnection

from control_plane.errors import PreconditionFailed

#: Where a request that reads within another's transaction finds that.
OPENED = "penguin.access"
_STATE = "penguin.if_match"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))"
_TAG = re.compile(r'"([0-9a-f]+)\.[0-9a-f]+"')

#: What changes by itself: nobody's change is refused because of it.
BY_ITSELF = frozenset(
    {
        *("last_used_at", "last_seen_at", "last_verified_at", "last_report", "reachable", "clock", "certificate"),
        *("drift", "drain", "provisioning", "operation", "rotation", "ssl_certificate_expires", "mail_server_status"),
        *("desired_version", "applied_version", "applied_at", "applied_detail", "agent_version", "updated_at"),
    }
)

Reader = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a request says in If-Match, and what shows the thing as it is."""

    if_match: str
    read: Reader | None


def tag_of(content: bytes, shown: bytes) -> str:
    """Return the tag of a thing's JSON, of which `shown` was asked for."""
    return f'"{_state_of(content)}.{_hash(shown)}"'


def tag_of_shown(shown: bytes) -> str:
    """Return the tag of what nobody changes as a whole, such as a list: the second half alone."""
    return f'"{_hash(shown)}"'


def unchanged(if_none_match: str | None, tag: str) -> bool:
    """Return whether the caller has this very answer."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in if_none_match.split(","))


def expect(request: Request, read: Reader | None) -> None:
    """Note what the request says in If-Match, for the transaction to judge."""
    if (if_match := request.headers.get("if-match")) is not None:
        request.scope[_STATE] = Expected(if_match, read)


async def require_expected(request: Request, connection: AsyncConnection[Any], reading: dict[str, Any]) -> None:
    """Raise `PreconditionFailed` unless the thing is as If-Match says.

    `reading` is put into the scope of the request that reads it, in the transaction of `connection`.
    """
    expected: Expected | None = request.scope.get(_STATE)
    if expected is None:
        return
    if expected.read is None:
        raise PreconditionFailed("This has no ETag, so If-Match cannot be true of it.")
    await connection.execute(_LOCK, (request.url.path,))
    scope = {**request.scope, "method": "GET", "query_string": b"", _STATE: None, **reading}
    present = await expected.read(Request(scope, request.receive))
    if expected.if_match.strip() != "*" and _state_of(bytes(present.body)) not in _TAG.findall(expected.if_match):
        raise PreconditionFailed("It was changed since you saw it; look again, and then change it.")


def _state_of(content: bytes) -> str:
    parsed = json.loads(content)
    if isinstance(parsed, dict):
        parsed = {name: value for name, value in parsed.items() if name not in BY_ITSELF}
    return _hash(json.dumps(parsed, sort_keys=True).encode())


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
