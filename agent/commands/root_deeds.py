"""The deeds that only root can do: handed to the root half, which checks them once more and has the last word."""

import asyncio
from pathlib import Path

from google.protobuf.message import DecodeError

from agent.configuration import wire
from agent.configuration.asking import ask_root_half
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.root_half_pb2 import RootRequest

ROOT_DEEDS = (
    "restart_mail_server",
    "reload_mail_server",
    "flush_queue",
    "hold_queued",
    "release_queued",
    "delete_queued",
    "issue_certificate",
    "keep_mail",
    "rotate_mail_log",
    "shed_disk",
    "self_test",
    "upgrade_agent",
    "roll_back_agent",
    "confirm_release",
    "change_packages",
    "roll_back_packages",
    "confirm_packages",
    "back_up_mail",
    "restore_mail",
    "list_mail_backups",
    "copy_mailbox",
    "delete_mailbox",
    "end_sessions",
)
#: Seconds for the root half, which may be applying a configuration first.
_ANSWER_SECONDS = 300.0


class RootDeed:
    """Any of `ROOT_DEEDS`; one at a time, as the root half serves them."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._turn = asyncio.Lock()

    async def __call__(self, command: Command) -> CommandResult:
        """Hand it over and return what came of it; without an answer that is not known."""
        async with self._turn:
            try:
                answer = await ask_root_half(self._socket, RootRequest(command=command), _ANSWER_SECONDS)
            except (OSError, EOFError, wire.BadFrame, DecodeError) as error:
                detail = f"the root half did not answer, and it may have been done: {type(error).__name__}"
                return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_FAILED, detail=detail)
        return answer.command_result
