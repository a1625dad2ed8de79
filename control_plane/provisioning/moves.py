"""A move of inboxes as its steps need it, and what they ask the two servers to do."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from control_plane.fleet.commands import CommandOrder, await_command, request_command
from control_plane.pipelines.step import Done, Outcome, Wait
from control_plane.provisioning.environment import StepContext
from protos.agent.v1.commands_pb2 import Command

# The one that is open, or else the one that was last.
_MOVES = text(
    "SELECT m.id, m.inbox_id, m.source_id, m.target_id, i.domain_id, i.email_address, t.hostname AS target_host,"
    " now() >= m.forward_until AS forwarded_long_enough"
    " FROM inbox_moves m JOIN inboxes i ON i.tenant_id = m.tenant_id AND i.id = m.inbox_id"
    " JOIN vps_servers t ON t.id = m.target_id"
    " WHERE m.tenant_id = :tenant AND m.request_id = ("
    "  SELECT request_id FROM inbox_moves WHERE tenant_id = :tenant AND inbox_id = :inbox"
    "  ORDER BY finished_at DESC NULLS FIRST LIMIT 1)"
    " ORDER BY i.email_address"
)
#: For all inboxes of a domain, one after the other; each of them has `_PATIENCE_SECONDS`.
LONGEST_FOR_EACH = timedelta(hours=12)
#: Seconds. A deed is ended by its server after a minute; it may have to wait for a configuration to be applied.
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class MovingInbox:
    """One of those that move together: its move's id, its own, its address."""

    move_id: uuid.UUID
    id: uuid.UUID
    email_address: str


@dataclass(frozen=True, slots=True)
class Move:
    """`forwarded_long_enough` is None as long as DNS does not name the target."""

    inboxes: tuple[MovingInbox, ...]
    source_id: uuid.UUID
    target_id: uuid.UUID
    domain_id: uuid.UUID
    target_host: str
    forwarded_long_enough: bool | None

    @property
    def ids(self) -> list[uuid.UUID]:
        """The rows that it is written in."""
        return [inbox.move_id for inbox in self.inboxes]

    @property
    def inbox_ids(self) -> list[uuid.UUID]:
        """The inboxes that move."""
        return [inbox.id for inbox in self.inboxes]


async def load_move(context: StepContext) -> Move:
    """Return the move that the run is about."""
    async with context.environment.database.system() as session:
        key = {"tenant": context.tenant_id, "inbox": context.subject_id}
        rows = (await session.execute(_MOVES, key)).all()
    one = rows[0]
    return Move(
        tuple(MovingInbox(row.id, row.inbox_id, row.email_address) for row in rows),
        one.source_id,
        one.target_id,
        one.domain_id,
        one.target_host,
        one.forwarded_long_enough,
    )


async def ask_for_each(context: StepContext, move: Move, vps_id: uuid.UUID, deed: Callable[[str], Command]) -> Outcome:
    """Have the server do it for each address, in turn; what was done before the one that could not be is done again."""
    for inbox in move.inboxes:
        outcome = await ask_server(context, vps_id, deed(inbox.email_address))
        if not isinstance(outcome, Done):
            return outcome
    return Done()


async def ask_server(context: StepContext, vps_id: uuid.UUID, deed: Command) -> Outcome:
    """Have the server do it; until it has, say why not. It may be done again, so no answer is no harm."""
    database = context.environment.database
    order = CommandOrder(context.tenant_id, vps_id, deed, requested_by=f"run {context.run.id}")
    async with database.system() as session:
        await context.hold(session)
        command_id = await request_command(session, order)
    state = await await_command(database, context.tenant_id, command_id, _PATIENCE_SECONDS)
    if state.state == "done":
        return Done({"detail": state.detail or ""})
    return Wait(state.detail or "the server has not answered yet", _PAUSE_SECONDS)
