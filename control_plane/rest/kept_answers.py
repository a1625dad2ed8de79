"""Answer a repeated request as it was answered first: the Idempotency-Key of every POST but those of messages.

A key and its answer are written in the transaction that does what was asked for, so that both are there or neither;
whoever repeats a request while the first is being worked on is told so. A route that waits for others meanwhile holds
no transaction: there the key is written before, and the answer after. One that says Cache-Control: no-store showed a
secret: that it was given is kept, and not the secret. Only answers of success are kept: what failed changed nothing,
and can be tried again under its key.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from control_plane.errors import AnswerShownOnce, IdempotencyKeyReused, InvalidInput, RequestInFlight
from control_plane.tenancy.scope import TenantScope
from db.session import Database

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
#: Of the key, for OpenAPI too.
PATTERN = r"^[!-~]{1,255}$"
_STATE = "penguin.repeatable"
_KEPT_HEADERS = ("content-type", "location")
#: Minutes after which a request that was never answered counts as lost with its process.
_LOST_MINUTES = 5

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%(tenant_id)s::text || %(within)s || %(key)s, 1))"
_FIND = """
SELECT request_sha256, status, headers, body, created_at < now() - make_interval(mins => %(lost)s) AS lost
FROM kept_answers WHERE tenant_id = %(tenant_id)s AND within = %(within)s AND key = %(key)s
"""
_WRITE = """
INSERT INTO kept_answers AS k (tenant_id, within, key, request_sha256, status, headers, body)
VALUES (%(tenant_id)s, %(within)s, %(key)s, %(sha256)s, %(status)s, %(headers)s, %(body)s)
ON CONFLICT (tenant_id, within, key) DO UPDATE SET
    request_sha256 = excluded.request_sha256, status = excluded.status, headers = excluded.headers,
    body = excluded.body, created_at = now()
"""
_FREE = """
UPDATE kept_answers SET created_at = '-infinity'
WHERE tenant_id = %(tenant_id)s AND within = %(within)s AND key = %(key)s
"""

Handler = Callable[[Request], Awaitable[Response]]


class AnsweredBefore(Exception):
    """The request was answered before; `answer` is what it got."""

    def __init__(self, answer: Response) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(slots=True)
class Repeatable:
    """A request with a key, and where its answer is to be kept: what the route's transaction has filled in."""

    key: str
    sha256: bytes
    scope: TenantScope | None = None
    connection: AsyncConnection[Any] | None = None
    database: Database | None = None


async def answer_once(request: Request, handler: Handler) -> Response:
    """Return the handler's answer, or the one that the request's key stands for."""
    key = request.headers.get(HEADER)
    if key is None:
        return await handler(request)
    repeatable = Repeatable(_checked(key), await _digest(request))
    request.scope[_STATE] = repeatable
    try:
        answer = await handler(request)
    except AnsweredBefore as before:
        return before.answer
    except BaseException:
        await _free(repeatable)
        raise
    await _keep(repeatable, answer)
    return answer


async def begin_in(request: Request, connection: AsyncConnection[Any], scope: TenantScope) -> None:
    """Look for the answer of a request with a key, in the transaction that will do what it asks for.

    Raises `AnsweredBefore`, `IdempotencyKeyReused`, `RequestInFlight` and `AnswerShownOnce`.
    """
    repeatable: Repeatable | None = request.scope.get(_STATE)
    if repeatable is not None:
        await _look(repeatable, connection, scope)
        repeatable.scope, repeatable.connection = scope, connection


async def begin_before(
    request: Request, database: Database, connection: AsyncConnection[Any], scope: TenantScope
) -> None:
    """Do the same in a transaction that is committed before anything is done, and write that it is begun."""
    repeatable: Repeatable | None = request.scope.get(_STATE)
    if repeatable is not None:
        await _look(repeatable, connection, scope)
        await connection.execute(_WRITE, _row(repeatable, scope) | {"status": None, "headers": Jsonb({}), "body": None})
        repeatable.scope, repeatable.database = scope, database


def _checked(key: str) -> str:
    if not re.fullmatch(PATTERN, key):
        raise InvalidInput("An idempotency key is 1 to 255 visible ASCII characters.", f"header/{HEADER.lower()}")
    return key


async def _digest(request: Request) -> bytes:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    digest = hashlib.sha256(f"{request.method} {target}\n".encode())
    digest.update(await request.body())
    return digest.digest()


def _row(repeatable: Repeatable, scope: TenantScope) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "within": scope.reach.within,
        "key": repeatable.key,
        "sha256": repeatable.sha256,
    }


async def _look(repeatable: Repeatable, connection: AsyncConnection[Any], scope: TenantScope) -> None:
    row = _row(repeatable, scope)
    # Held until the transaction ends: whoever comes second must neither wait for it nor do the same again.
    [free] = await (await connection.execute(_LOCK, row)).fetchone() or (False,)
    if not free:
        raise RequestInFlight("A request under this idempotency key is being worked on; ask again.")
    found = await (await connection.execute(_FIND, row | {"lost": _LOST_MINUTES})).fetchone()
    if found is None:
        return
    sha256, status, headers, body, lost = found
    if bytes(sha256) != repeatable.sha256:
        raise IdempotencyKeyReused("The idempotency key was used for another request; choose a new one.")
    if status is None:
        if lost:
            return
        raise RequestInFlight("A request under this idempotency key is being worked on; ask again.")
    if body is None:
        where = f" What it made is at {headers['location']}." if "location" in headers else ""
        raise AnswerShownOnce(f"The request was done; its answer showed a secret once and is not kept.{where}")
    raise AnsweredBefore(Response(bytes(body), status, {**headers, REPLAYED: "true"}))


async def _keep(repeatable: Repeatable, answer: Response) -> None:
    """Write the answer where the request was begun."""
    if not 200 <= answer.status_code < 300:
        await _free(repeatable)
        return
    if repeatable.scope is None:
        return
    secret = "no-store" in answer.headers.get("cache-control", "")
    row = _row(repeatable, repeatable.scope) | {
        "status": answer.status_code,
        "headers": Jsonb({name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}),
        "body": None if secret else bytes(answer.body),
    }
    if repeatable.connection is not None:
        await repeatable.connection.execute(_WRITE, row)
    elif repeatable.database is not None:
        async with repeatable.database.tenant_connection(repeatable.scope.reach) as connection:
            await connection.execute(_WRITE, row)


async def _free(repeatable: Repeatable) -> None:
    """Free the key of a request that was begun before and came to nothing; a transaction frees its own."""
    if repeatable.database is not None and repeatable.scope is not None:
        async with repeatable.database.tenant_connection(repeatable.scope.reach) as connection:
            await connection.execute(_FREE, _row(repeatable, repeatable.scope))
