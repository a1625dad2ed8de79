"""What an operator may ask of one server now: a closed list, each with its arguments, recorded with its reason."""

import datetime as dt
import enum
import uuid
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.fleet.commands import CommandOrder, CommandState, command_state, request_command
from control_plane.fleet.servers import is_reachable
from control_plane.inboxes.dkim_rotation import request_rotation
from control_plane.operators.acts import Act, Actor, record
from db.models import Domain, Inbox, VpsServer
from protos.agent.v1 import commands_pb2 as wire

#: For which a command may wait to be begun.
LIFE = dt.timedelta(seconds=30)
_LINES = 100
_MOST_LINES = 1000


class CommandKind(enum.StrEnum):
    """All that can be asked for."""

    RESTART = "restart"
    RELOAD = "reload"
    FLUSH = "flush"
    HOLD = "hold"
    RELEASE = "release"
    DELETE = "delete"
    TAIL = "tail"
    SELF_TEST = "self-test"
    SHED_DISK = "shed-disk"
    #: Of a domain that sends from the server; a run of steps, not a word to the server.
    ROTATE_KEY = "rotate-key"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; `queue_id` is for hold, release and delete, `lines` for tail, `domain` for rotate-key."""

    kind: CommandKind
    queue_id: str | None = None
    lines: int | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's id, or that of the run that does it."""

    command_id: uuid.UUID | None = None
    run_id: uuid.UUID | None = None


async def ask(
    session: AsyncSession, actor: Actor, vps_id: uuid.UUID, wanted: Wanted, *, now: dt.datetime, reason: str | None
) -> Asked:
    """Ask, and record that. The command is sent at most once.

    Raises `NotFound`, `InvalidInput` for arguments that are missing or too many, and `Conflict` for a server without a
    link: nothing was asked then.
    """
    server = await session.scalar(select(VpsServer).where(VpsServer.id == vps_id))
    if server is None:
        raise NotFound("There is no such server.")
    _check_arguments(wanted)
    if wanted.kind is CommandKind.ROTATE_KEY:
        asked = Asked(run_id=await _rotate(session, server, wanted.domain or ""))
    else:
        if not is_reachable(server.link_session, server.last_seen_at, now):
            raise Conflict("The server is not linked; nothing was asked of it.")
        order = CommandOrder(server.tenant_id, vps_id, _command(wanted), f"operator {actor.name}", LIFE)
        asked = Asked(command_id=await request_command(session, order))
    subject = {"vps_id": vps_id, "kind": wanted.kind, "queue_id": wanted.queue_id, "domain": wanted.domain}
    await record(session, actor, Act.COMMAND, subject | {"command_id": asked.command_id}, reason)
    return asked


async def outcome(session: AsyncSession, vps_id: uuid.UUID, command_id: uuid.UUID) -> CommandState:
    """Return how a command of the server stands. Raises `NotFound`."""
    tenant_id = await session.scalar(select(VpsServer.tenant_id).where(VpsServer.id == vps_id))
    if tenant_id is None:
        raise NotFound("There is no such server.")
    state = await command_state(session, tenant_id, command_id)
    if state.vps_id != vps_id:
        raise NotFound("There is no such command.")
    return state


def _check_arguments(wanted: Wanted) -> None:
    needs_queue_id = wanted.kind in {CommandKind.HOLD, CommandKind.RELEASE, CommandKind.DELETE}
    if needs_queue_id != (wanted.queue_id is not None):
        raise InvalidInput(f"{wanted.kind} takes {'a' if needs_queue_id else 'no'} queue id.", "/queue_id")
    if (wanted.kind is CommandKind.ROTATE_KEY) != (wanted.domain is not None):
        raise InvalidInput("rotate-key takes a domain, and nothing else does.", "/domain")
    if wanted.lines is not None and (wanted.kind is not CommandKind.TAIL or not 1 <= wanted.lines <= _MOST_LINES):
        raise InvalidInput(f"tail takes 1 to {_MOST_LINES} lines, and nothing else does.", "/lines")


def _command(wanted: Wanted) -> wire.Command:
    queue_id = wanted.queue_id or ""
    commands = {
        CommandKind.RESTART: wire.Command(restart_mail_server=wire.RestartMailServer()),
        CommandKind.RELOAD: wire.Command(reload_mail_server=wire.ReloadMailServer()),
        CommandKind.FLUSH: wire.Command(flush_queue=wire.FlushQueue()),
        CommandKind.HOLD: wire.Command(hold_queued=wire.HoldQueued(queue_id=queue_id)),
        CommandKind.RELEASE: wire.Command(release_queued=wire.ReleaseQueued(queue_id=queue_id)),
        CommandKind.DELETE: wire.Command(delete_queued=wire.DeleteQueued(queue_id=queue_id)),
        CommandKind.TAIL: wire.Command(read_mail_log=wire.ReadMailLog(lines=wanted.lines or _LINES)),
        CommandKind.SELF_TEST: wire.Command(self_test=wire.SelfTest()),
        CommandKind.SHED_DISK: wire.Command(shed_disk=wire.ShedDisk()),
    }
    return commands[wanted.kind]


async def _rotate(session: AsyncSession, server: VpsServer, name: str) -> uuid.UUID:
    sends_here = exists().where(Inbox.domain_id == Domain.id, Inbox.vps_id == server.id)
    query = select(Domain.id).where(Domain.tenant_id == server.tenant_id, Domain.name == name.lower(), sends_here)
    domain_id = await session.scalar(query)
    if domain_id is None:
        raise NotFound("No domain of that name sends from the server.")
    return await request_rotation(session, server.tenant_id, domain_id)
