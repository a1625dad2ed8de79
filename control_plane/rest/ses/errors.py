"""Our errors as SES's clients know them: a code in X-Amzn-ErrorType, by which they choose an exception, and words."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from control_plane.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PenguinError,
    PlanLimitReached,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from control_plane.rest.problems import handlers_of, words_of
from control_plane.rest.request_id import request_id_of
from control_plane.ses.signature import SignatureRefused
from control_plane.tenancy.plans import limit_reached

_log = logging.getLogger(__name__)


class MailFromDomainNotVerified(PenguinError):
    """The sender's domain is not the tenant's."""


class MessageRejected(PenguinError):
    """The message cannot be sent as it is."""


#: The first that fits counts.
_CODES: tuple[tuple[type[PenguinError], str, HTTPStatus], ...] = (
    (MailFromDomainNotVerified, "MailFromDomainNotVerifiedException", HTTPStatus.BAD_REQUEST),
    (MessageRejected, "MessageRejected", HTTPStatus.BAD_REQUEST),
    (InvalidInput, "BadRequestException", HTTPStatus.BAD_REQUEST),
    (TooLarge, "MessageRejected", HTTPStatus.BAD_REQUEST),
    (Conflict, "MessageRejected", HTTPStatus.BAD_REQUEST),
    (NotFound, "NotFoundException", HTTPStatus.NOT_FOUND),
    (PlanLimitReached, "LimitExceededException", HTTPStatus.BAD_REQUEST),
    (Forbidden, "AccessDeniedException", HTTPStatus.FORBIDDEN),
    (SignatureRefused, "InvalidSignatureException", HTTPStatus.FORBIDDEN),
    (Unauthenticated, "UnrecognizedClientException", HTTPStatus.FORBIDDEN),
    (TooManyRequests, "TooManyRequestsException", HTTPStatus.TOO_MANY_REQUESTS),
    (Unavailable, "ServiceUnavailableException", HTTPStatus.SERVICE_UNAVAILABLE),
    (PenguinError, "InternalServiceErrorException", HTTPStatus.INTERNAL_SERVER_ERROR),
)


class SesProblem(BaseModel):
    """What went wrong, as SES's clients read it; they choose an exception by `__type`."""

    type: str = Field(alias="__type")
    message: str


#: For the router: every answer that is no success is one of SES's errors.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "An error of SES's",
        "content": {"application/json": {"schema": SesProblem.model_json_schema()}},
    }
}


def ses_answer(scope: Scope, error: PenguinError) -> Response:
    """Return the answer to a request that ends in this error."""
    code, status = next((code, status) for kind, code, status in _CODES if isinstance(error, kind))
    headers = {"X-Amzn-RequestId": request_id_of(scope)}
    if isinstance(error, (TooManyRequests, Unavailable)):
        headers["Retry-After"] = str(error.retry_after)
    return _answer(code, status, error.detail, headers)


def _answer(code: str, status: int, message: str, headers: Mapping[str, str]) -> Response:
    # ASCII: a name of a field that is refused may hold what UTF-8 cannot.
    content = json.dumps({"__type": code, "message": message})
    return Response(content, status, {**headers, "X-Amzn-ErrorType": code}, media_type="application/json")


async def _penguin_error(request: Request, error: PenguinError) -> Response:
    if isinstance(error, InvalidInput) and error.field:
        error = InvalidInput(f"{error.field}: {error.detail}")
    return ses_answer(request.scope, error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    # SES's own answers name one thing that is wrong.
    first = error.errors()[0]
    where = "/".join(map(str, first["loc"][1:]))
    return ses_answer(request.scope, InvalidInput(f"/{where}: {words_of(first)}"))


async def _http_exception(_: Request, error: HTTPException) -> Response:
    code = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "MessageRejected"}.get(
        HTTPStatus(error.status_code), "UnknownOperationException"
    )
    return _answer(code, error.status_code, error.detail, dict(error.headers or {}))


async def _database_away(request: Request, error: Exception) -> Response:
    _log.warning("request %s: the database is away: %s", request_id_of(request.scope), type(error).__name__)
    return ses_answer(request.scope, Unavailable("The database is away; nothing was changed."))


async def _refused_by_database(request: Request, error: Exception) -> Response:
    return ses_answer(request.scope, limit_reached(error) or _unexpected(request, error))


async def _any_other(request: Request, error: Exception) -> Response:
    return ses_answer(request.scope, _unexpected(request, error))


def _unexpected(request: Request, error: Exception) -> PenguinError:
    _log.error("request %s failed", request_id_of(request.scope), exc_info=error)
    return PenguinError("This is our fault; the request id leads us to it.")


HANDLERS = handlers_of(
    penguin=_penguin_error,
    validation=_validation_error,
    http=_http_exception,
    away=_database_away,
    refused=_refused_by_database,
    other=_any_other,
)
