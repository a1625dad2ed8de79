"""Bring the mail of a domain's inboxes to another server, and make that their server.

The target pulls over IMAP, by a log-in that the source has for it alone. It mirrors each mailbox while mail still comes
to the source and its owner still reads there. Then nothing may change for a moment: the source keeps mail waiting in
its queue and lets nobody in, the target mirrors once more what little is left, and the switch is made. Until then
everything can be taken back.
"""

import asyncio
import json
import uuid
from datetime import timedelta

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import tenant_keys
from control_plane.dns.generate import generate_records
from control_plane.fleet.desired import raise_desired_version
from control_plane.inboxes.create import imap_config, smtp_config
from control_plane.inboxes.moves import LEAVE_RUN
from control_plane.inboxes.passwords import dovecot_hash, generate_password
from control_plane.pipelines.runs import start_run
from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Result, Wait
from control_plane.pools.senders import bind, start_bindings
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.moves import LONGEST_FOR_EACH, Move, ask_for_each, load_move
from control_plane.provisioning.steps.apply_configuration import request_configuration
from control_plane.provisioning.steps.bind_sender import spf_is_there
from control_plane.provisioning.steps.generate_records import GenerateRecords
from control_plane.sealing import Seals
from protos.agent.v1.commands_pb2 import Command, CopyMailbox, DeleteMailbox
from protos.agent.v1.commands_pb2 import EndSessions as EndSessionsDeed

_SET_PASSWORD = text(
    "UPDATE inbox_moves SET password_sealed = :sealed, password_hash = :hashed WHERE id = :id AND finished_at IS NULL"
)
_UNDO = text(
    "UPDATE inbox_moves SET state = 'undone', finished_at = now(), password_sealed = NULL, password_hash = NULL"
    " WHERE id = ANY(:ids) AND state = 'copying'"
)
_HOLD = text("UPDATE inbox_moves SET state = 'holding' WHERE id = ANY(:ids) AND state = 'copying'")
_LET_GO = text("UPDATE inbox_moves SET state = 'copying' WHERE id = ANY(:ids) AND state = 'holding'")
_SWITCH = text(
    "UPDATE inbox_moves SET state = 'arriving', password_sealed = NULL, password_hash = NULL"
    " WHERE id = ANY(:ids) AND state = 'holding'"
)
_SWITCH_INBOX = text(
    "UPDATE inboxes SET vps_id = :vps, smtp_config = CAST(:smtp AS jsonb), imap_config = CAST(:imap AS jsonb),"
    " updated_at = now() WHERE tenant_id = :tenant AND id = :inbox"
)
#: Seconds. Zones that people keep take hours.
_PAUSE = 2.0


class ClearTarget:
    """Delete what the target has of an earlier mailbox of that address; and, to undo, what was copied."""

    name = "clear_target"
    patience = timedelta(hours=1)
    ceiling = LONGEST_FOR_EACH

    async def run(self, context: StepContext) -> Outcome:
        """Ask the target; it refuses while it has a mailbox of that name."""
        return await self._clear(context)

    async def undo(self, context: StepContext) -> Outcome:
        """Ask again; it has no such mailbox any more, once it has applied what it should be."""
        return await self._clear(context)

    async def _clear(self, context: StepContext) -> Outcome:
        move = await load_move(context)
        return await ask_for_each(context, move, move.target_id, _delete)


class OpenSource:
    """Let the source have a log-in for the target, and the target the mailbox. The passwords are made here."""

    name = "open_source"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Make a password for each mailbox; they and the source's new version are written with the step."""
        move = await load_move(context)
        async with context.environment.database.system() as session:
            keys = await tenant_keys(session, context.environment.sealer, context.tenant_id)
        passwords = [await _new_password(keys, move_id) for move_id in move.ids]

        async def write(session: AsyncSession) -> Result:
            await session.execute(_SET_PASSWORD, passwords)
            return await request_configuration(session, move.source_id)

        return Done(apply=write)

    async def undo(self, context: StepContext) -> Outcome:
        """Let both forget the move."""
        move = await load_move(context)

        async def write(session: AsyncSession) -> None:
            await session.execute(_UNDO, {"ids": move.ids})
            await raise_desired_version(session, move.source_id)
            await raise_desired_version(session, move.target_id)

        return Done(apply=write)


class OpenTarget(NothingToUndo):
    """Let the target have the mailbox; what `OpenSource` undoes takes it away."""

    name = "open_target"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Raise the target's version with the step."""
        move = await load_move(context)
        return Done(apply=lambda session: request_configuration(session, move.target_id))


class Mirror(NothingToUndo):
    """Make the target's copy of the mailbox the same as the source's; `ClearTarget` takes it away again."""

    patience = timedelta(days=2)
    ceiling = LONGEST_FOR_EACH

    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, context: StepContext) -> Outcome:
        """Ask until it was done in one go; what an earlier one brought over is kept."""
        move = await load_move(context)
        return await ask_for_each(context, move, move.target_id, _copy)


class Hold:
    """Let nothing change at the source: its Postfix keeps mail for the inbox waiting, and its owner cannot log in."""

    name = "hold"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it with the step."""
        return await change_source(context, _HOLD)

    async def undo(self, context: StepContext) -> Outcome:
        """Let the source deliver again, at once."""
        return await change_source(context, _LET_GO)


class EndSessions(NothingToUndo):
    """Send away who is still logged in at the source."""

    name = "end_sessions"
    patience = timedelta(minutes=5)
    ceiling = LONGEST_FOR_EACH

    async def run(self, context: StepContext) -> Outcome:
        """Ask the source."""
        move = await load_move(context)
        return await ask_for_each(context, move, move.source_id, _end_sessions)


class WidenRecords(GenerateRecords):
    """Both servers are in the domain's SPF record as long as the move is open."""

    name = "dns.widen"


class AwaitSpf(NothingToUndo):
    """Wait until the zone lists the target as a sender (RFC 7208): right after the switch it is one."""

    name = "dns.await_spf"
    patience = timedelta(days=7)

    async def run(self, context: StepContext) -> Outcome:
        """Ask the zone's servers."""
        if await spf_is_there(context, context.subject_id):
            return Done()
        return Wait("the domain's SPF record does not list the new server yet", _PAUSE)


class Switch(NothingToUndo):
    """The target is the inbox's server from here on; what is left to do at the source is a run of its own.

    All of it is one transaction, which records the step: it has happened, or it has not.
    """

    name = "switch"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it with the step."""
        move = await load_move(context)
        return Done(apply=lambda session: _switch(session, context, move))


async def change_source(context: StepContext, statement: TextClause) -> Outcome:
    """Write it of all that move, and have the source configured by it, with the step."""
    move = await load_move(context)

    async def write(session: AsyncSession) -> Result:
        await session.execute(statement, {"ids": move.ids})
        return await request_configuration(session, move.source_id)

    return Done(apply=write)


async def _switch(session: AsyncSession, context: StepContext, move: Move) -> Result:
    await session.execute(_SWITCH, {"ids": move.ids})
    for inbox in move.inboxes:
        moved = {
            "tenant": context.tenant_id,
            "inbox": inbox.id,
            "vps": move.target_id,
            "smtp": json.dumps(smtp_config(move.target_host, inbox.email_address)),
            "imap": json.dumps(imap_config(move.target_host, inbox.email_address)),
        }
        await session.execute(_SWITCH_INBOX, moved)
        # It was bound to an address of the source, if to any.
        await bind(session, context.tenant_id, inbox.id, None)
    await start_bindings(session, context.tenant_id, move.inbox_ids)
    await generate_records(session, context.tenant_id, move.domain_id)
    await raise_desired_version(session, move.source_id)
    await raise_desired_version(session, move.target_id)
    run_id: uuid.UUID = await start_run(session, context.tenant_id, LEAVE_RUN, context.subject_id)
    return {"next_run": str(run_id)}


async def _new_password(keys: Seals, move_id: uuid.UUID) -> dict[str, object]:
    password = generate_password()
    hashed = await asyncio.to_thread(dovecot_hash, password)
    return {
        "id": move_id,
        "sealed": keys.seal(password.encode(), f"inbox_moves.password:{move_id}"),
        "hashed": hashed,
    }


def _delete(address: str) -> Command:
    return Command(delete_mailbox=DeleteMailbox(address=address))


def _copy(address: str) -> Command:
    return Command(copy_mailbox=CopyMailbox(address=address))


def _end_sessions(address: str) -> Command:
    return Command(end_sessions=EndSessionsDeed(address=address))
