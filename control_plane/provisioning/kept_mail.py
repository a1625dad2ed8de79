"""Carry a server's packed mail here and back, block by block, by commands; each block is kept as it came, sealed."""

import asyncio
import base64
import binascii
import hashlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.commands import CommandOrder, CommandState, await_command, request_command
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.rebuilding import BLOCK, PackedMail
from protos.agent.v1.commands_pb2 import Command, KeepMail, WriteMailBlock

#: Blocks under way at one time.
_AT_ONCE = 4
#: For one that got lost with a link.
_ATTEMPTS = 3
_BLOCK_LIFE = timedelta(seconds=30)

_KEEP = text(
    "INSERT INTO mail_blocks (rebuild_id, tenant_id, number, sealed) VALUES (:id, :tenant, :number, :sealed)"
    " ON CONFLICT DO NOTHING"
)
_HAVE = text("SELECT number FROM mail_blocks WHERE rebuild_id = :id")
_BLOCK = text("SELECT sealed FROM mail_blocks WHERE rebuild_id = :id AND number = :number")
_FORGET = text("DELETE FROM mail_blocks WHERE rebuild_id = :id")
_FORGET_COMMAND = text("DELETE FROM server_commands WHERE id = :id")

_Carry = Callable[[StepContext, int], Awaitable[None]]


class NotCarried(Exception):
    """A block could not be carried; the message says why, and it may work later."""


async def ask(context: StepContext, step: KeepMail, life: timedelta) -> CommandState:
    """Have the server do one step and return what came of it; then the command is forgotten: it may hold the key."""
    database = context.environment.database
    order = CommandOrder(context.tenant_id, context.subject_id, Command(keep_mail=step), "rebuild", life)
    async with database.system() as session:
        await context.hold(session)
        command_id = await request_command(session, order)
    # What was not answered in time is unknown a little after the end of its life.
    state = await await_command(database, context.tenant_id, command_id, life.total_seconds() + 10)
    async with database.system() as session:
        await session.execute(_FORGET_COMMAND, {"id": command_id})
    return state


async def fetch(context: StepContext, packed: PackedMail) -> None:
    """Fetch the blocks that are not here yet. Raises `NotCarried`."""
    async with context.environment.database.system() as session:
        have = set((await session.scalars(_HAVE, {"id": context.run.id})).all())
    await _side_by_side([number for number in range(packed.blocks) if number not in have], context, _fetch_block)


async def is_whole(context: StepContext, packed: PackedMail) -> bool:
    """Say whether what is here is what was packed; forget it when not."""
    digest, size = hashlib.sha256(), 0
    async with aclosing(_blocks(context, packed)) as blocks:
        async for block in blocks:
            digest.update(block)
            size += len(block)
    if (size, digest.hexdigest()) == (packed.size, packed.sha256):
        return True
    async with context.environment.database.system() as session:
        await context.hold(session)
        await session.execute(_FORGET, {"id": context.run.id})
    return False


async def send_back(context: StepContext, packed: PackedMail) -> None:
    """Send every block to the server. Raises `NotCarried`."""
    await _side_by_side(range(packed.blocks), context, _send_block)


async def _side_by_side(numbers: Sequence[int], context: StepContext, carry: _Carry) -> None:
    for start in range(0, len(numbers), _AT_ONCE):
        outcomes = await asyncio.gather(
            *(carry(context, number) for number in numbers[start : start + _AT_ONCE]), return_exceptions=True
        )
        for error in filter(None, outcomes):
            raise error


async def _fetch_block(context: StepContext, number: int) -> None:
    told = await _insist(context, KeepMail(read_block=number))
    try:
        block = base64.b64decode(told.output or "", validate=True)
    except binascii.Error:
        block = b""
    if not 0 < len(block) <= BLOCK:
        raise NotCarried(f"block {number} of its mail came broken")
    row = {"id": context.run.id, "tenant": context.tenant_id, "number": number, "sealed": block}
    async with context.environment.database.system() as session:
        await context.hold(session)
        await session.execute(_KEEP, row)


async def _send_block(context: StepContext, number: int) -> None:
    async with context.environment.database.system() as session:
        block = await _block(session, context.run.id, number)
    await _insist(context, KeepMail(write_block=WriteMailBlock(number=number, block=block)))


async def _insist(context: StepContext, step: KeepMail) -> CommandState:
    """Ask until it is done; to read or write a block twice changes nothing."""
    for _ in range(_ATTEMPTS):
        told = await ask(context, step, _BLOCK_LIFE)
        if told.state == "done":
            return told
    raise NotCarried(f"its mail cannot be carried: {told.detail}")


async def _blocks(context: StepContext, packed: PackedMail) -> AsyncGenerator[bytes]:
    for number in range(packed.blocks):
        async with context.environment.database.system() as session:
            block = await _block(session, context.run.id, number)
        yield block


async def _block(session: AsyncSession, rebuild_id: uuid.UUID, number: int) -> bytes:
    return bytes((await session.execute(_BLOCK, {"id": rebuild_id, "number": number})).scalar_one())
