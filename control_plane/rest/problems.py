"""Errors as problem details (RFC 9457): the one place where an exception becomes an answer.

`type` is `/problems/<slug>`, and the slugs are part of the contract. Nothing of the request is repeated in an answer,
and nothing of an unexpected error: that goes to the log, under the request id that the answer carries.
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import Scope

from control_plane.errors import (
    InvalidInput,
    NotFound,
    PenguinError,
    RequestInFlight,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from control_plane.rest.request_id import REQUEST_ID, request_id_of
from control_plane.tenancy.plans import limit_reached

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_SCHEMAS = "#/components/schemas/"
#: Where an OpenAPI document has the schema (`describe_problems`).
PROBLEM = f"{_SCHEMAS}Problem"

_NOT_ALLOWED = HTTPStatus.METHOD_NOT_ALLOWED
_PARAMETER = re.compile(r"\{[^}]*\}")

_Renders = Callable[[Request, Any], Awaitable[Response]]

# PostgreSQL, or the way to it, is away, restarting, full or overloaded.
_AWAY = (OperationalError, InterfaceError, PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError)
_REFUSING = (DBAPIError, psycopg.DatabaseError)

# Statuses that the framework answers with itself, where one of our own errors says the same.
_SLUGS = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-large"}


class ProblemPart(BaseModel):
    """One part of a request that is wrong: a JSON pointer (RFC 6901) into the body, or a parameter's name."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[ProblemPart] = []


def describe_problems(document: dict[str, Any]) -> None:
    """Add what PROBLEM refers to: the framework knows what routes return, and these are not returned."""
    schema = Problem.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
    document["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}


#: For the routers: every answer that is no success is a problem.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"description": "A problem (RFC 9457)", "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}}}}
}


def _answer(problem: Problem, headers: Mapping[str, str] | None) -> Response:
    content = problem.model_dump(exclude=None if problem.errors else {"errors"})
    # ASCII: the name of a field that is refused may hold what UTF-8 cannot.
    return Response(json.dumps(content), problem.status, headers, media_type=MEDIA_TYPE)


def problem_answer(scope: Scope, error: PenguinError, errors: Sequence[ProblemPart] = ()) -> Response:
    """Return the answer to a request that ends in this error."""
    problem = Problem(
        type=f"/problems/{error.slug}",
        title=error.title,
        status=error.http_status,
        detail=error.detail,
        request_id=request_id_of(scope),
        errors=list(errors),
    )
    return _answer(problem, _headers(error))


def _headers(error: PenguinError) -> dict[str, str]:
    if isinstance(error, (Unavailable, TooManyRequests, RequestInFlight)):
        return {"Retry-After": str(error.retry_after)}
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}


async def _penguin_error(request: Request, error: PenguinError) -> Response:
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("request %s: %s", request_id_of(request.scope), error)
    if isinstance(error, InvalidInput) and error.field is not None:
        return problem_answer(request.scope, error, [ProblemPart(pointer=error.field, detail=error.detail)])
    return problem_answer(request.scope, error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    """Render what pydantic found; a path that can name nothing is a thing that is not there."""
    found = error.errors()
    if any(part["loc"][0] == "path" for part in found):
        return problem_answer(request.scope, NotFound("There is no such thing."))
    parts = [ProblemPart(pointer=pointer(part["loc"]), detail=words_of(part)) for part in found]
    return problem_answer(request.scope, InvalidInput("The request is not valid; errors says where."), parts)


def words_of(part: Mapping[str, Any]) -> str:
    """Return what pydantic says is wrong; of what is no JSON the framework says in another place why."""
    return f"{part['msg']}: {part['ctx']['error']}" if part["type"] == "json_invalid" else str(part["msg"])


def pointer(location: Sequence[str | int]) -> str:
    """Return pydantic's location, which begins with "body", as a JSON pointer; of a parameter, its name."""
    where, *path = location
    if where != "body":
        return "/".join(map(str, location))
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


async def _http_exception(request: Request, error: HTTPException) -> Response:
    """Render what the framework raises itself: 404, 405, 413 and the like."""
    status = HTTPStatus(error.status_code)
    slug = _SLUGS.get(status, status.phrase.lower().replace(" ", "-"))
    problem = Problem(
        type=f"/problems/{slug}",
        title=status.phrase,
        status=status,
        detail=error.detail,
        request_id=request_id_of(request.scope),
    )
    allowed = _allowed(request) if status == _NOT_ALLOWED else ""
    return _answer(problem, {**(error.headers or {}), "Allow": allowed} if allowed else error.headers)


def _allowed(request: Request) -> str:
    """Return all methods of the path, as OpenAPI has them; the framework names those of the first route alone."""
    fitting = [template for template in request.app.openapi()["paths"] if _fits(template, request.scope["path"])]
    if not fitting:
        return ""
    # Of a thing and what is done with it (/{id} and /{id}:ping), the latter.
    closest = max(fitting, key=lambda template: len(_PARAMETER.sub("", template)))
    return ", ".join(sorted(map(str.upper, request.app.openapi()["paths"][closest])))


def _fits(template: str, path: str) -> bool:
    literal = _PARAMETER.split(template)
    return re.fullmatch("[^/]+".join(map(re.escape, literal)), path) is not None


async def _database_away(request: Request, error: Exception) -> Response:
    _log.warning("request %s: the database is away: %s", request_id_of(request.scope), type(error).__name__)
    return problem_answer(request.scope, Unavailable("The database is away; nothing was changed."))


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("request %s failed", request_id_of(request.scope), exc_info=error)
    answer = problem_answer(request.scope, PenguinError("This is our fault; the request id leads us to it."))
    # This answer is given outside of the middleware that names requests.
    answer.headers[REQUEST_ID] = request_id_of(request.scope)
    return answer


async def _refused_by_database(request: Request, error: Exception) -> Response:
    """Render what the database refuses for a reason that the caller can know: a plan's limit."""
    if (reached := limit_reached(error)) is not None:
        return await _penguin_error(request, reached)
    return await _unexpected(request, error)


def handlers_of(
    *, penguin: _Renders, validation: _Renders, http: _Renders, away: _Renders, refused: _Renders, other: _Renders
) -> dict[int | type[Exception], Any]:
    """Return, for an application, what renders which exception."""
    return {
        PenguinError: penguin,
        RequestValidationError: validation,
        HTTPException: http,
        **dict.fromkeys(_AWAY, away),
        **dict.fromkeys(_REFUSING, refused),
        Exception: other,
    }


#: Those of our own doors.
HANDLERS = handlers_of(
    penguin=_penguin_error,
    validation=_validation_error,
    http=_http_exception,
    away=_database_away,
    refused=_refused_by_database,
    other=_unexpected,
)
