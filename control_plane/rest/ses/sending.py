"""SendEmail and SendBulkEmail."""

import uuid
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

from fastapi import APIRouter

from control_plane.errors import InvalidInput
from control_plane.messages.batch import accept_batch
from control_plane.messages.header_fields import read_mailbox
from control_plane.messages.problem import ItemProblem, problem_of
from control_plane.messages.send_request import SendRequest
from control_plane.messages.sender import find_address
from control_plane.rest.ses.access import SignedAccess, signed_transaction
from control_plane.rest.ses.bodies import (
    BulkEmailEntry,
    BulkEmailEntryResult,
    SendBulkEmailRequest,
    SendBulkEmailResponse,
    SendEmailRequest,
    SendEmailResponse,
)
from control_plane.rest.ses.errors import RESPONSES, MailFromDomainNotVerified, MessageRejected
from control_plane.rest.ses.orders import sends_of_email, sends_of_entry
from control_plane.rest.strict_route import StrictRoute
from control_plane.tenancy.permissions import Permission


class _SigningRoute(StrictRoute):
    """A route whose requests name themselves by how they are signed: their sends keep that."""

    @property
    def keeps_answers(self) -> bool:
        """Whether a request may be repeated under a key."""
        return False


router = APIRouter(responses=RESPONSES, route_class=_SigningRoute)

_Sending = Annotated[SignedAccess, signed_transaction(Permission.SEND_MESSAGES)]
_Result = uuid.UUID | ItemProblem


@router.post("/outbound-emails")
async def send_email(body: SendEmailRequest, access: _Sending) -> SendEmailResponse:
    """Accept a message to its recipients: to all of them in one commit, or to none."""
    inbox_id, from_name = await _sender(access, body.from_email_address)
    items = sends_of_email(body, from_name)
    written = items[0].written
    if written is not None and (await find_address(access.connection, access.scope, written.sender))[0] != inbox_id:
        raise MessageRejected("The raw message's From is another address than FromEmailAddress.")
    answer = await accept_batch(access.connection, access.scope, inbox_id, items, access.idempotency)
    for result in answer.results:
        if isinstance(result, ItemProblem):
            raise MessageRejected(result.detail)
    return SendEmailResponse(message_id=str(answer.results[0]))


@router.post("/outbound-bulk-emails", response_model_exclude_none=True)
async def send_bulk_email(body: SendBulkEmailRequest, access: _Sending) -> SendBulkEmailResponse:
    """Accept a message for each entry, those that are right in one commit, and tell of each what became of it."""
    inbox_id, from_name = await _sender(access, body.from_email_address)
    entries = [_entry(body, entry, from_name) for entry in body.bulk_email_entries]
    items = [item for entry in entries for item in entry]
    answer = await accept_batch(access.connection, access.scope, inbox_id, items, access.idempotency)
    results = iter(answer.results)
    return SendBulkEmailResponse(bulk_email_entry_results=[_result(results, len(entry)) for entry in entries])


async def _sender(access: SignedAccess, from_email_address: str | None) -> tuple[uuid.UUID, str | None]:
    """Return the inbox of an address, and the name beside it if there is one."""
    if from_email_address is None:
        raise InvalidInput("Say which inbox sends.", "/FromEmailAddress")
    name, address = read_mailbox(from_email_address, "/FromEmailAddress")
    found = await find_address(access.connection, access.scope, address)
    if not found.has_domain:
        raise MailFromDomainNotVerified(f"The domain {address.domain} is not one of yours.")
    if found.inbox_id is None:
        raise MessageRejected("Email address is not verified: there is no inbox of this address.")
    return found.inbox_id, name or None


def _entry(
    body: SendBulkEmailRequest, entry: BulkEmailEntry, from_name: str | None
) -> Sequence[SendRequest | ItemProblem]:
    try:
        return sends_of_entry(body, entry, from_name)
    except InvalidInput as error:
        return [problem_of(error, 0)]


def _result(results: Iterator[_Result], recipients: int) -> BulkEmailEntryResult:
    """Return what became of an entry: all its sends have the same text, and so the same fate."""
    first, *_ = islice(results, recipients)
    if isinstance(first, uuid.UUID):
        return BulkEmailEntryResult(status="SUCCESS", message_id=str(first))
    invalid = first.type.endswith(InvalidInput.slug)
    return BulkEmailEntryResult(status="INVALID_PARAMETER" if invalid else "MESSAGE_REJECTED", error=first.detail)
