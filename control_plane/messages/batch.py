"""Accept many sends at once: each is checked by itself, and those that are right go in with one commit.

Composing runs in a thread: a thousand messages take some tens of milliseconds, and the event loop serves others.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import AsyncConnection

from control_plane.errors import InvalidInput, TooLarge
from control_plane.inboxes.addresses import parse_address
from control_plane.messages.accept import compose_send, ordered_ids
from control_plane.messages.insert import Entry, NewSend, insert_sends
from control_plane.messages.problem import ItemProblem, problem_of
from control_plane.messages.send_request import Idempotency, SendRequest
from control_plane.messages.sender import Sender, find_sender
from control_plane.telemetry.traces import ACCEPTED, tracer_for
from control_plane.tenancy.scope import TenantScope


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What became of each message of a batch, in its order: the id of its send, or why there is none."""

    results: tuple[uuid.UUID | ItemProblem, ...]
    signing_domain: str


async def accept_batch(
    connection: AsyncConnection[Any],
    scope: TenantScope,
    inbox_id: uuid.UUID,
    items: Sequence[SendRequest | ItemProblem],
    idempotency: Idempotency | None = None,
) -> BatchAnswer:
    """Insert the sends of all items that are right, or return the answer that the idempotency key stands for.

    Items that the caller found wrong already stand as problems in their places. A batch of which nothing is right
    changes nothing, and does not use up its key. Sends due at the same moment leave in the order of their items.
    Raises `NotFound`, `Conflict` and `IdempotencyKeyReused` for the batch as a whole.
    """
    came_ns = time.time_ns()
    sender = await find_sender(connection, scope, inbox_id, idempotency)
    if sender.repeats(idempotency):
        return _repeated(sender)
    sender.require_server()
    judged = await asyncio.to_thread(_compose_all, sender, items)
    if any(isinstance(item, NewSend) for item in judged) and not await _insert(
        connection, scope, sender, judged, idempotency
    ):
        present = await find_sender(connection, scope, inbox_id, idempotency)
        return _repeated(present) if present.repeats(idempotency) else present.refuse_changed()
    _tell(judged, came_ns)
    return BatchAnswer(tuple(item.id if isinstance(item, NewSend) else item for item in judged), sender.domain)


def _tell(judged: Sequence[NewSend | ItemProblem], came_ns: int) -> None:
    for item in judged:
        if isinstance(item, NewSend) and (tracer := tracer_for(item.id)):
            tracer.tell(item.id, ACCEPTED, came_ns)


def _repeated(sender: Sender) -> BatchAnswer:
    problems = {int(place): problem for place, problem in (sender.problems or {}).items()}
    results = tuple(send_id or _kept_problem(problems[place]) for place, send_id in enumerate(sender.message_ids or ()))
    return BatchAnswer(results, sender.domain)


def _kept_problem(kept: dict[str, Any]) -> ItemProblem:
    return ItemProblem(**{**kept, "errors": tuple((pointer, detail) for pointer, detail in kept["errors"])})


def _compose_all(sender: Sender, items: Sequence[SendRequest | ItemProblem]) -> list[NewSend | ItemProblem]:
    return [
        item if isinstance(item, ItemProblem) else _compose(sender, item, send_id, place)
        for place, (item, send_id) in enumerate(zip(items, ordered_ids(len(items)), strict=True))
    ]


def _compose(sender: Sender, request: SendRequest, send_id: uuid.UUID, place: int) -> NewSend | ItemProblem:
    try:
        return compose_send(sender, request, parse_address(request.to, "/to"), send_id)
    except (InvalidInput, TooLarge) as error:
        return problem_of(error, place)


async def _insert(
    connection: AsyncConnection[Any],
    scope: TenantScope,
    sender: Sender,
    judged: Sequence[NewSend | ItemProblem],
    idempotency: Idempotency | None,
) -> bool:
    """Insert the sends and keep the answer; return False when the key is taken or the inbox not ready any more."""
    problems = {str(place): asdict(item) for place, item in enumerate(judged) if isinstance(item, ItemProblem)}
    ids = [str(item.id) if isinstance(item, NewSend) else None for item in judged]
    sends = [item for item in judged if isinstance(item, NewSend)]
    entry = Entry(sender, sends, idempotency, {"message_ids": ids, "problems": problems})
    return bool(await insert_sends(connection, scope, [entry]))
