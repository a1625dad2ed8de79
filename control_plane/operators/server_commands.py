"""What an operator may ask of one server now: a closed list, each with its scope and its arguments, recorded.

Tenants have a route and a permission for each of the few that are theirs (rest/server_commands.py).
"""

import datetime as dt
import enum
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.fleet.commands import CommandOrder, CommandState, command_state, request_command
from control_plane.fleet.servers import is_reachable
from control_plane.inboxes.dkim_rotation import request_rotation
from control_plane.operators.acts import Act, Actor, record
from control_plane.operators.scopes import OperatorScope
from db.models import Domain, Inbox, VpsServer
from protos.agent.v1 import commands_pb2 as wire

#: For which a command may wait to be begun, and to be answered.
_LIFE = dt.timedelta(seconds=30)
#: The place of backups may be far away and slow.
_LISTING_LIFE = dt.timedelta(seconds=90)
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
    #: Begins a backup of all mailboxes, or brings one back. What comes of it is in the server's reports.
    BACK_UP_MAIL = "back-up-mail"
    RESTORE_MAIL = "restore-mail"
    LIST_MAIL_BACKUPS = "list-mail-backups"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, with what a command of the kind takes (`TERMS`)."""

    kind: CommandKind
    queue_id: str | None = None
    lines: int | None = None
    domain: str | None = None
    #: A mailbox's address.
    inbox: str | None = None
    #: Of a backup; the newest when left out.
    snapshot: str | None = None
    #: Which server saved it; the one that is asked when left out.
    from_server: uuid.UUID | None = None
    #: Into the mailbox's own folders, and only what is in none of them.
    in_place: bool | None = None

    @property
    def arguments(self) -> dict[str, object]:
        """What is given beside the kind, by name."""
        return {name: value for name, value in asdict(self).items() if name != "kind" and value is not None}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key must open to ask for a kind, and what it takes: each argument, and whether it must be given."""

    scope: OperatorScope
    takes: Mapping[str, bool] = field(default_factory=dict)


_MESSAGE = {"queue_id": True}
_RESTORED = {"inbox": True, "snapshot": False, "from_server": False, "in_place": False}
#: On what terms each kind is asked for.
TERMS: Mapping[CommandKind, Terms] = {
    CommandKind.RESTART: Terms(OperatorScope.RUN_SERVER),
    CommandKind.RELOAD: Terms(OperatorScope.RUN_SERVER),
    CommandKind.FLUSH: Terms(OperatorScope.RUN_SERVER),
    CommandKind.HOLD: Terms(OperatorScope.HOLD_MAIL, _MESSAGE),
    CommandKind.RELEASE: Terms(OperatorScope.HOLD_MAIL, _MESSAGE),
    CommandKind.DELETE: Terms(OperatorScope.DELETE_MAIL, _MESSAGE),
    CommandKind.TAIL: Terms(OperatorScope.LOOK_AT_SERVER, {"lines": False}),
    CommandKind.SELF_TEST: Terms(OperatorScope.LOOK_AT_SERVER),
    CommandKind.SHED_DISK: Terms(OperatorScope.RUN_SERVER),
    CommandKind.ROTATE_KEY: Terms(OperatorScope.ROTATE_KEY, {"domain": True}),
    CommandKind.BACK_UP_MAIL: Terms(OperatorScope.RUN_SERVER),
    CommandKind.RESTORE_MAIL: Terms(OperatorScope.RESTORE_MAIL, _RESTORED),
    CommandKind.LIST_MAIL_BACKUPS: Terms(OperatorScope.LOOK_AT_SERVER, {"inbox": False, "from_server": False}),
}


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
        life = _LISTING_LIFE if wanted.kind is CommandKind.LIST_MAIL_BACKUPS else _LIFE
        order = CommandOrder(server.tenant_id, vps_id, _command(wanted), f"operator {actor.name}", life)
        asked = Asked(command_id=await request_command(session, order))
    # Acts are kept for good, and so name nobody's address.
    said = {name: value for name, value in wanted.arguments.items() if name != "inbox"}
    subject = {"vps_id": vps_id, "kind": wanted.kind, **said, "command_id": asked.command_id}
    await record(session, actor, Act.COMMAND, subject, reason)
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


def scope_of_output(kind: str) -> OperatorScope:
    """Return what opens the output of a command, by its kind as servers know it: the scope that asks for such a one.

    A log is mail traffic. What only tenants or the fleet itself ask for counts as a look.
    """
    return _SCOPES_SENT.get(kind, OperatorScope.LOOK_AT_SERVER)


def _check_arguments(wanted: Wanted) -> None:
    takes = TERMS[wanted.kind].takes
    given = wanted.arguments.keys()
    if extra := sorted(given - takes.keys()):
        raise InvalidInput(f"{wanted.kind} takes no {extra[0]}.", f"/{extra[0]}")
    if missing := [name for name, is_needed in takes.items() if is_needed and name not in given]:
        raise InvalidInput(f"{wanted.kind} needs the {missing[0]}.", f"/{missing[0]}")
    if wanted.lines is not None and not 1 <= wanted.lines <= _MOST_LINES:
        raise InvalidInput(f"tail takes 1 to {_MOST_LINES} lines.", "/lines")


def _command(wanted: Wanted) -> wire.Command:
    queue_id, inbox, saved_by = wanted.queue_id or "", wanted.inbox or "", str(wanted.from_server or "")
    brought_back = wire.RestoreMail(
        address=inbox, snapshot=wanted.snapshot or "", server=saved_by, in_place=bool(wanted.in_place)
    )
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
        CommandKind.BACK_UP_MAIL: wire.Command(back_up_mail=wire.BackUpMail()),
        CommandKind.RESTORE_MAIL: wire.Command(restore_mail=brought_back),
        CommandKind.LIST_MAIL_BACKUPS: wire.Command(
            list_mail_backups=wire.ListMailBackups(address=inbox, server=saved_by)
        ),
    }
    return commands[wanted.kind]


_SCOPES_SENT = {
    str(_command(Wanted(kind)).WhichOneof("deed")): terms.scope
    for kind, terms in TERMS.items()
    if kind is not CommandKind.ROTATE_KEY
}


async def _rotate(session: AsyncSession, server: VpsServer, name: str) -> uuid.UUID:
    sends_here = exists().where(Inbox.domain_id == Domain.id, Inbox.vps_id == server.id)
    query = select(Domain.id).where(Domain.tenant_id == server.tenant_id, Domain.name == name.lower(), sends_here)
    domain_id = await session.scalar(query)
    if domain_id is None:
        raise NotFound("No domain of that name sends from the server.")
    return await request_rotation(session, server.tenant_id, domain_id)
