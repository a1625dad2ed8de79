"""Ask a server to do something now, at most once, and learn what came of it.

A command is a row. The hub that holds the server's link is notified, commits the row as `sent` and only then sends it,
so that no crash can send it twice; what was sent and never answered ends as `unknown`, and says so. Hubs need not know
of each other: the one with the link is the one that finds `link_session` to be its own.

    waiting -> sent -> done | failed | refused
    waiting -> expired                            the server could not be reached in time
    sent -> unknown -> done | failed | refused    no answer in time; one that comes late is kept
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput, NotFound
from db.session import Database
from log_lines.lines import request_in_hand
from protos.agent.v1.commands_pb2 import Command, CommandResult

#: Notified with a server's id when there is a command for it.
COMMANDS_CHANNEL = "server_commands"
#: Characters of output that are kept; the agent's own limit is smaller.
_MOST_OUTPUT = 512 * 1024
_ID_BYTES = 16
#: Commands that go out at once.
_AT_ONCE = 16
#: For an answer that was on its way when the deadline came.
_GRACE = timedelta(seconds=5)
_FIRST_LOOK_SECONDS = 0.05
_LAST_LOOK_SECONDS = 0.5

_STATES = {
    CommandResult.OUTCOME_DONE: "done",
    CommandResult.OUTCOME_FAILED: "failed",
    CommandResult.OUTCOME_REFUSED: "refused",
}

_INSERT = text(
    "INSERT INTO server_commands (id, tenant_id, vps_id, kind, command, requested_by, deadline)"
    " VALUES (:id, :tenant, :vps, :kind, :command, :requested_by, now() + :life)"
)
_NOTIFY = text("SELECT pg_notify(:channel, :vps)")
# The link is compared in the same statement, so that of two hubs only the one with the newest link sends it.
_TAKE = text(
    "UPDATE server_commands SET state = 'sent', sent_at = now() WHERE id IN (SELECT c.id FROM server_commands c"
    "  JOIN vps_servers v ON v.id = c.vps_id WHERE c.vps_id = :vps AND v.link_session = :link AND c.state = 'waiting'"
    "  AND c.deadline > now() ORDER BY c.created_at LIMIT :at_once FOR UPDATE OF c SKIP LOCKED)"
    " RETURNING id, command, extract(epoch FROM deadline - now())::float AS seconds_left, created_at"
)
_WAITED_FOR = text(
    "SELECT DISTINCT vps_id FROM server_commands"
    " WHERE vps_id = ANY(:servers) AND state = 'waiting' AND deadline > now()"
)
_FINISH = text(
    "UPDATE server_commands SET state = :state, detail = :detail, output = :output, truncated = :truncated,"
    " next = :next, finished_at = now() WHERE id = :id AND vps_id = :vps AND state IN ('sent', 'unknown')"
)
_SETTLE = text(
    "UPDATE server_commands SET state = CASE state WHEN 'waiting' THEN 'expired' ELSE 'unknown' END,"
    " detail = CASE state WHEN 'waiting' THEN 'the server was not reached in time; nothing was done'"
    "  ELSE 'the server was told and did not answer in time; it may have been done' END, finished_at = now()"
    " WHERE id IN (SELECT id FROM server_commands WHERE (state = 'waiting' AND deadline < now())"
    "  OR (state = 'sent' AND deadline + :grace < now()) LIMIT 1000 FOR UPDATE SKIP LOCKED)"
)
# What was read from a log is mail traffic; it is kept for as long as its reader may need it.
_FORGET_OUTPUT = text(
    "UPDATE server_commands SET output = NULL WHERE id IN (SELECT id FROM server_commands"
    " WHERE output IS NOT NULL AND finished_at < now() - interval '1 hour' LIMIT 1000)"
)
_LOOK = text(
    "SELECT id, vps_id, kind, requested_by, detail, output, truncated, next, created_at, sent_at, finished_at,"
    " CASE WHEN state = 'waiting' AND deadline < now() THEN 'expired'"
    " WHEN state = 'sent' AND deadline + :grace < now() THEN 'unknown' ELSE state END AS state"
    " FROM server_commands WHERE tenant_id = :tenant AND id = :id"
)


@dataclass(frozen=True, slots=True)
class CommandState:
    """How a command stands; `output` is gone an hour after it ended."""

    id: uuid.UUID
    vps_id: uuid.UUID
    kind: str
    state: str
    detail: str | None
    output: str | None
    truncated: bool
    next: str | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected."""
        return self.state not in ("waiting", "sent")


@dataclass(frozen=True, slots=True)
class CommandOrder:
    """A deed for one server, by whom it is asked for, and for how long it may wait to be begun.

    `command` holds the deed alone; its id and the time left are set when it goes out.
    """

    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    command: Command
    requested_by: str
    life: timedelta = timedelta(seconds=30)


async def request_command(session: AsyncSession, order: CommandOrder) -> uuid.UUID:
    """Leave a command for a server that the caller has seen, and return its id."""
    kind = order.command.WhichOneof("deed")
    if kind is None:
        raise ValueError("a command needs a deed")
    command_id = uuid.uuid4()
    order.command.request_id = request_in_hand() or ""
    row = {
        "id": command_id,
        "tenant": order.tenant_id,
        "vps": order.vps_id,
        "kind": kind,
        "command": order.command.SerializeToString(),
        "requested_by": order.requested_by,
        "life": order.life,
    }
    await session.execute(_INSERT, row)
    await session.execute(_NOTIFY, {"channel": COMMANDS_CHANNEL, "vps": str(order.vps_id)})
    return command_id


async def command_state(session: AsyncSession, tenant_id: uuid.UUID, command_id: uuid.UUID) -> CommandState:
    """Return how the command stands. Raises `NotFound`."""
    row = (await session.execute(_LOOK, {"tenant": tenant_id, "id": command_id, "grace": _GRACE})).one_or_none()
    if row is None:
        raise NotFound("there is no such command")
    return _state(row)


async def await_command(
    database: Database, tenant_id: uuid.UUID, command_id: uuid.UUID, seconds: float
) -> CommandState:
    """Return how the command stands once it is over, or after `seconds`. Raises `NotFound`.

    It looks again and again, each time in a transaction of its own: commands are few, and a listening connection for
    each waiting request would cost more.
    """
    pause = _FIRST_LOOK_SECONDS
    end = asyncio.get_running_loop().time() + seconds
    while True:
        async with database.tenant(tenant_id) as session:
            state = await command_state(session, tenant_id, command_id)
        left = end - asyncio.get_running_loop().time()
        if state.is_over or left <= 0:
            return state
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 2, _LAST_LOOK_SECONDS)


async def with_commands(session: AsyncSession, servers: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Return which of these servers have commands that wait."""
    return set(await session.scalars(_WAITED_FOR, {"servers": list(servers)}))


async def take_commands(session: AsyncSession, vps_id: uuid.UUID, link: uuid.UUID) -> list[Command]:
    """Mark the server's waiting commands as sent and return them, oldest first; nothing unless `link` is its link.

    The caller sends them after the commit.
    """
    rows = (await session.execute(_TAKE, {"vps": vps_id, "link": link, "at_once": _AT_ONCE})).all()
    commands = []
    for row in sorted(rows, key=lambda row: row.created_at):
        command = Command.FromString(row.command)
        command.id = row.id.bytes
        command.seconds_left = row.seconds_left
        commands.append(command)
    return commands


async def record_command_result(session: AsyncSession, vps_id: uuid.UUID, result: CommandResult) -> None:
    """Keep what a server says of a command that was sent to it; any other's is passed over. Raises `InvalidInput`."""
    if len(result.id) != _ID_BYTES:
        raise InvalidInput("a command result needs the 16 bytes of its command's id")
    row = {
        "id": uuid.UUID(bytes=result.id),
        "vps": vps_id,
        "state": outcome_of(result),
        "detail": _storable(result.detail)[:1000],
        "output": _storable(result.output)[:_MOST_OUTPUT] or None,
        "truncated": result.truncated or len(result.output) > _MOST_OUTPUT,
        "next": _storable(result.next)[:1000] or None,
    }
    await session.execute(_FINISH, row)


def outcome_of(result: CommandResult) -> str:
    """Return the state that a result brings its command to; what a newer agent may say counts as failed."""
    return _STATES.get(result.outcome, "failed")


async def settle_commands(session: AsyncSession) -> None:
    """End what its deadline has overtaken, and forget what was read long enough ago."""
    await session.execute(_SETTLE, {"grace": _GRACE})
    await session.execute(_FORGET_OUTPUT)


def _storable(words: str) -> str:
    """PostgreSQL's text holds every character but this one."""
    return words.replace("\0", "\ufffd")


def _state(row: Row[tuple[object, ...]]) -> CommandState:
    return CommandState(row.id, row.vps_id, row.kind, row.state, row.detail, row.output, row.truncated, row.next)
