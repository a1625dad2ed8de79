"""A server's disk as far as a rebuild is about it: its mail, its mail services, and what its agent does when told.

The deeds are the agent's own (`agent.configuration.keep_mail`), in a directory.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.configuration.keep_mail import MailKeeper
from agent.configuration.told import Refused, Told
from mailstack.apply.host import CommandFailed
from mailstack.checking import CommandOutput
from mailstack.rendered_file import Service
from protos.agent.v1.commands_pb2 import Command, CommandResult
from tests.fakes.host import FakeHost

SERVICES = frozenset({Service.POSTFIX, Service.DOVECOT})


class MailHost(FakeHost):
    """A mail server that runs, with so many messages in its queue."""

    def __init__(self) -> None:
        super().__init__()
        self.active = set(SERVICES)
        self.queued = 0

    def run(self, argv: Sequence[str]) -> CommandOutput:
        if argv[0] == "postqueue":
            return CommandOutput(0, "{}\n" * self.queued, "")
        return super().run(argv)


@dataclass
class Disk:
    """One system's."""

    folder: Path
    host: MailHost = field(default_factory=MailHost)

    @property
    def mail(self) -> Path:
        """Where its mail is."""
        return self.folder / "mail"

    @property
    def runs(self) -> bool:
        """Whether it is a mail server."""
        return self.host.active >= SERVICES

    def fill(self, messages: int, size: int) -> None:
        """Put messages of so many octets into an inbox."""
        for number in range(messages):
            flags = "FS" if number % 2 else ""
            self.deliver(f"cur/17000000{number:02}.M1P1.mx:2,{flags}", secrets.token_bytes(size))

    def deliver(self, name: str, content: bytes) -> None:
        """Put a message into the inbox."""
        path = self.mail / "acme.example/sales/Maildir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def contents(self) -> dict[str, bytes]:
        """Return all messages, by their paths."""
        files = (path for path in self.mail.rglob("*") if path.is_file())
        return {str(path.relative_to(self.mail)): path.read_bytes() for path in files}

    def perform(self, command: Command) -> CommandResult:
        """Do what an agent is told, as its root half does it; what is not about kept mail is done."""
        if command.WhichOneof("deed") != "keep_mail":
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_DONE)
        keeper = MailKeeper(self.mail, self.folder / "sealed", os.getuid())
        try:
            told = keeper(command, self.host)
        except Refused as error:
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_REFUSED, detail=str(error))
        except CommandFailed as error:
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_FAILED, detail=str(error))
        output = told.output if isinstance(told, Told) else ""
        return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_DONE, output=output)


def empty_disk(folder: Path) -> Disk:
    """Return one that was just written: no mail, and no mail server yet."""
    disk = Disk(folder)
    disk.host.active = set()
    return disk
