"""Many messages in one request.

The body is read here and not by the framework: it is parsed and checked in a thread, and each message by itself, so
that a wrong one does not turn the others away.
"""

import asyncio
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.errors import InvalidInput
from control_plane.messages.batch import BatchAnswer, accept_batch
from control_plane.messages.compose import message_id
from control_plane.messages.problem import ItemProblem, problem_of
from control_plane.messages.send_request import SendRequest
from control_plane.rest.access import HotAccess, hot_transaction
from control_plane.rest.new_message import NewMessage, RequestKey
from control_plane.rest.problems import ProblemPart, pointer
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.strict_json import loads
from control_plane.tenancy.permissions import Permission

#: Messages in one batch: one commit, and a transaction that is open for some hundredths of a second.
MAX_BATCH = 1000

router = APIRouter(tags=["messages"], route_class=ResourceRoute)

_Sending = Annotated[HotAccess, hot_transaction(Permission.SEND_MESSAGES)]


class _Batch(BaseModel):
    """The body; its messages are checked one by one."""

    model_config = ConfigDict(extra="forbid")

    messages: list[Any] = Field(min_length=1, max_length=MAX_BATCH)


class BatchItemAccepted(BaseModel):
    """The message is committed; it will end in exactly one final state."""

    id: uuid.UUID
    state: Literal["accepted"] = "accepted"
    message_id: str


class BatchItemProblem(BaseModel):
    """Why a message was not accepted (RFC 9457); pointers lead into the body of the request."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemPart]


class BatchResults(BaseModel):
    """What became of each message, in the order of the request."""

    accepted: int
    refused: int
    results: list[BatchItemAccepted | BatchItemProblem]


async def _read(request: Request) -> list[SendRequest | ItemProblem]:
    return await asyncio.to_thread(_parse, await request.body())


_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "messages": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_BATCH,
            "items": {"$ref": "#/components/schemas/NewMessage"},
        }
    },
}


@router.post(
    "/inboxes/{inbox_id}/messages:batch",
    response_model=BatchResults,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}},
)
async def send_batch(
    inbox_id: uuid.UUID,
    # First, so that no transaction is open while the body comes in.
    items: Annotated[list[SendRequest | ItemProblem], Depends(_read)],
    idempotency: RequestKey,
    access: _Sending,
) -> Response:
    """Accept up to 1,000 messages in one commit: those that are right, and a problem for each that is not.

    200 says that the batch was worked through, and `results` what became of each message, in order: `accepted`, as
    with 202 for a single one, or a problem. The same batch under the same Idempotency-Key gives the same answer and
    sends nothing again; another one under that key is refused with 422. A batch of which nothing was accepted does not
    use up its key. 404, 409 and 503 are about the whole batch, of which then nothing was accepted.
    """
    answer = await accept_batch(access.connection, access.scope, inbox_id, items, idempotency)
    # Written here: the framework would check our own answer again.
    return Response(_results(answer).model_dump_json(), media_type="application/json")


def _parse(body: bytes) -> list[SendRequest | ItemProblem]:
    try:
        batch = _Batch.model_validate(loads(body))
    except ValidationError as error:
        raise RequestValidationError([{**part, "loc": ("body", *part["loc"])} for part in error.errors()]) from None
    except ValueError as error:
        raise InvalidInput(f"The body is not JSON: {error}", "") from None
    return [_item(place, message) for place, message in enumerate(batch.messages)]


def _item(place: int, message: object) -> SendRequest | ItemProblem:
    try:
        return NewMessage.model_validate(message).as_request()
    except ValidationError as error:
        parts = [(pointer(("body", *part["loc"])), part["msg"]) for part in error.errors(include_input=False)]
        return problem_of(InvalidInput("The message is not valid; errors says where."), place, parts)


def _results(answer: BatchAnswer) -> BatchResults:
    results = [_result(result, answer.signing_domain) for result in answer.results]
    refused = sum(isinstance(result, BatchItemProblem) for result in results)
    return BatchResults(accepted=len(results) - refused, refused=refused, results=results)


def _result(result: uuid.UUID | ItemProblem, domain: str) -> BatchItemAccepted | BatchItemProblem:
    if isinstance(result, uuid.UUID):
        return BatchItemAccepted(id=result, message_id=message_id(result, domain))
    return BatchItemProblem(
        type=result.type,
        title=result.title,
        status=result.status,
        detail=result.detail,
        errors=[ProblemPart(pointer=where, detail=detail) for where, detail in result.errors],
    )
