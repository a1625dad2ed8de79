"""Answer a repeated request as it was answered first: the Idempotency-Key of every POST but those of messages.

A key and its answer are written in the transaction that does what was asked for, so that both are there or neither;
whoever repeats a request while the first is being worked on is told so. A route that waits for others meanwhile holds
no transaction, and those of /auth have several short ones: there the key is written before, and the answer after. One
that says Cache-Control: no-store showed a secret: that it was given is kept, and not the secret. Only answers of
success are kept: what failed changed nothing, and can be tried again under its key.

Whose answers are kept where is in kept_places.py.
"""

import datetime as dt
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from control_plane.errors import AnswerShownOnce, IdempotencyKeyReused, InvalidInput, RequestInFlight
from control_plane.rest.kept_places import Asked, Place, PlaceOf

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
#: Of the key, for OpenAPI too.
PATTERN = r"^[!-~]{1,255}$"
_STATE = "penguin.repeatable"
_KEPT_HEADERS = ("content-type", "location")
#: Minutes after which a request that was never answered counts as lost with its process.
_LOST_MINUTES = 5

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))"

Handler = Callable[[Request], Awaitable[Response]]
#: Opens a transaction that is committed on leaving it without an error.
Opens = Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]


class AnsweredBefore(Exception):
    """The request was answered before; `answer` is what it got."""

    def __init__(self, answer: Response) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(slots=True)
class Repeatable:
    """A request with a key, and where its answer is to be kept: filled in once it is known who asks.

    It is written on the connection of the route's transaction, or in a transaction of its own.
    """

    asked: Asked
    place: Place | None = None
    connection: AsyncConnection[Any] | None = None
    opens: Opens | None = None
    #: When it was written that it is begun, by the database's clock; in a transaction of its own.
    begun_at: dt.datetime | None = None


async def answer_once(request: Request, handler: Handler) -> Response:
    """Return the handler's answer, or the one that the request's key stands for."""
    key = request.headers.get(HEADER)
    if key is None:
        return await handler(request)
    repeatable = Repeatable(Asked(_checked(key), await _words(request)))
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


def is_repeatable(request: Request) -> bool:
    """Return whether the request came with a key, to a route that takes one."""
    return _STATE in request.scope


async def begin_in(request: Request, connection: AsyncConnection[Any], place_of: PlaceOf) -> None:
    """Look for the answer of a request with a key, in the transaction that will do what it asks for.

    Raises `AnsweredBefore`, `IdempotencyKeyReused`, `RequestInFlight` and `AnswerShownOnce`.
    """
    repeatable: Repeatable | None = request.scope.get(_STATE)
    if repeatable is not None:
        place = place_of(repeatable.asked)
        await _look(place, connection)
        repeatable.place, repeatable.connection = place, connection


async def begin_before(request: Request, connection: AsyncConnection[Any], place_of: PlaceOf, opens: Opens) -> None:
    """Do the same in a transaction that is committed before anything is done, and write that it is begun.

    The answer is written in another, which `opens` opens.
    """
    repeatable: Repeatable | None = request.scope.get(_STATE)
    if repeatable is not None:
        place = place_of(repeatable.asked)
        await _look(place, connection)
        repeatable.begun_at = await _write(place, connection, status=None, headers={}, body=None)
        repeatable.place, repeatable.opens = place, opens


def _checked(key: str) -> str:
    if not re.fullmatch(PATTERN, key):
        raise InvalidInput("An idempotency key is 1 to 255 visible ASCII characters.", f"header/{HEADER.lower()}")
    return key


async def _words(request: Request) -> bytes:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"{request.method} {target}\n".encode() + await request.body()


async def _look(place: Place, connection: AsyncConnection[Any]) -> None:
    # Held until the transaction ends: whoever comes second must neither wait for it nor do the same again.
    [free] = await (await connection.execute(_LOCK, (place.lock,))).fetchone() or (False,)
    if not free:
        raise RequestInFlight("A request under this idempotency key is being worked on; ask again.")
    found = await (await connection.execute(place.table.find, {**place.columns, "lost": _LOST_MINUTES})).fetchone()
    if found is None:
        return
    digest, status, headers, body, lost = found
    if status is None:
        if lost:
            return
        raise RequestInFlight("A request under this idempotency key is being worked on; ask again.")
    if bytes(digest) not in place.digests:
        raise IdempotencyKeyReused("The idempotency key was used for another request; choose a new one.")
    if body is None:
        where = f" What it made is at {headers['location']}." if "location" in headers else ""
        raise AnswerShownOnce(f"The request was done; its answer showed a secret once and is not kept.{where}")
    raise AnsweredBefore(Response(bytes(body), status, {**headers, REPLAYED: "true"}))


async def _keep(repeatable: Repeatable, answer: Response) -> None:
    """Write the answer where the request was begun."""
    if not 200 <= answer.status_code < 300:
        await _free(repeatable)
        return
    if repeatable.place is None:
        return
    secret = "no-store" in answer.headers.get("cache-control", "")
    kept: dict[str, Any] = {
        "status": answer.status_code,
        "headers": {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers},
        "body": None if secret else bytes(answer.body),
    }
    if repeatable.connection is not None:
        await _write(repeatable.place, repeatable.connection, **kept)
    elif repeatable.opens is not None:
        async with repeatable.opens() as connection:
            await _write(repeatable.place, connection, **kept)


async def _write(
    place: Place, connection: AsyncConnection[Any], *, status: int | None, headers: dict[str, str], body: bytes | None
) -> dt.datetime | None:
    """Write it, and return the moment by which it is known to be this request's."""
    kept = {"digest": place.digests[0], "status": status, "headers": Jsonb(headers), "body": body}
    [at] = await (await connection.execute(place.table.write, {**place.columns, **kept})).fetchone() or (None,)
    written_at: dt.datetime | None = at
    return written_at


async def _free(repeatable: Repeatable) -> None:
    """Free the key of a request that was begun before and came to nothing; a transaction frees its own."""
    if repeatable.opens is not None and repeatable.place is not None:
        async with repeatable.opens() as connection:
            begun = {**repeatable.place.columns, "begun_at": repeatable.begun_at}
            await connection.execute(repeatable.place.table.free, begun)
