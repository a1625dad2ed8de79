"""A server over its rebuilds: each time its disk is overwritten there is an empty one, and an agent that joins anew.

What the hub does for a server is played too: commands go out by its link, a revoked agent's link is cut, and what it
should be is told unless that is held back. PostgreSQL is real.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from control_plane.enrolment.authority import IssuedCertificate
from control_plane.enrolment.certificates import record_certificate
from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Conflict
from control_plane.fleet.commands import record_command_result, take_commands
from control_plane.fleet.desired import load_desired_state
from control_plane.sealing import Sealer
from db.session import Database
from protos.agent.v1.commands_pb2 import Command, CommandResult
from tests.fakes.kept_mail import SERVICES, Disk, empty_disk

_LOOK_SECONDS = 0.03
_STANDING = text(
    "SELECT link_session, desired_version > applied_version AS is_behind,"
    " EXISTS (SELECT FROM agent_certificates c WHERE c.vps_id = v.id AND c.revoked_at IS NULL) AS speaks,"
    " EXISTS (SELECT FROM join_tokens j WHERE j.vps_id = v.id) AS may_join,"
    " EXISTS (SELECT FROM server_commands c WHERE c.vps_id = v.id AND c.state = 'waiting') AS is_asked,"
    " (SELECT count(*) FROM pipeline_steps s JOIN pipeline_runs r ON r.id = s.run_id"
    "  WHERE r.subject_id = v.id AND r.kind = 'vps.rebuild' AND s.name = 'start_joining' AND s.state = 'done')"
    "  AS programs"
    " FROM vps_servers v WHERE v.id = :id"
)
_LINK = text("UPDATE vps_servers SET link_session = :link WHERE id = :id")
_APPLY = text(
    "UPDATE vps_servers SET applied_version = desired_version, applied_at = now(), mail_server_status = 'running',"
    " applied_detail = 'played' WHERE id = :id"
)


@dataclass
class RebuiltServer:
    """One server's systems; `rebuilds` says how often its provider has overwritten its disk.

    Where no user-data is taken a system joins when a program was run there (`joins_by_program`), else by itself.
    """

    database: Database
    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    folder: Path
    sealer: Sealer
    rebuilds: Callable[[], int]
    joins_by_program: bool = False
    #: A step of keeping mail that it refuses.
    refuses: str | None = None
    disks: list[Disk] = field(default_factory=list)
    #: What it was asked about kept mail, by step.
    asked: list[str] = field(default_factory=list)
    #: Which of the systems have joined.
    joined: set[int] = field(default_factory=set)
    #: How often mail was put into an empty place.
    restored: int = 0
    #: What should not have been.
    wrong: list[str] = field(default_factory=list)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.disks.append(Disk(self.folder / "0"))
        self.joined.add(0)

    @property
    def disk(self) -> Disk:
        """The one that it has now."""
        return self.disks[-1]

    def playing(self) -> AbstractAsyncContextManager[None]:
        """Do what is to be done as long as the block lasts."""
        return self._repeating(self.look)

    def answering(self) -> AbstractAsyncContextManager[None]:
        """Do what its agent is told as long as the block lasts, and nothing else by itself."""
        return self._repeating(self._answer)

    @asynccontextmanager
    async def _repeating(self, what: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        async def repeat() -> None:
            while True:
                await what()
                await asyncio.sleep(_LOOK_SECONDS)

        playing = asyncio.create_task(repeat())
        try:
            yield
        finally:
            playing.cancel()
            (ended,) = await asyncio.gather(playing, return_exceptions=True)
            if isinstance(ended, Exception):
                raise ended

    async def connect(self) -> None:
        """Have its agent enrol and hold a link."""
        issued = IssuedCertificate(b"", uuid.uuid4().hex, datetime.now(UTC) + timedelta(hours=1))
        async with self.database.system() as session:
            await record_certificate(session, AgentIdentity(self.tenant_id, self.vps_id), issued)
            await session.execute(_LINK, {"id": self.vps_id, "link": uuid.uuid4()})

    async def look(self) -> None:
        """Do all that is to be done now."""
        async with self._looking:
            if self.rebuilds() >= len(self.disks):
                self.disks.append(empty_disk(self.folder / str(len(self.disks))))
                await self._cut_link()
            standing = await self._standing()
            if standing.link_session is not None and not standing.speaks:
                await self._cut_link()
            elif standing.link_session is None and self._joins(standing):
                self.joined.add(len(self.disks) - 1)
                await self.connect()
                standing = await self._standing()
            if standing.speaks and standing.link_session is not None:
                await self._serve(standing)
                if standing.is_behind:
                    await self._configure()

    async def _answer(self) -> None:
        async with self._looking:
            standing = await self._standing()
            if standing.speaks and standing.link_session is not None:
                await self._serve(standing)

    async def _standing(self) -> Any:  # noqa: ANN401 - a row
        async with self.database.system() as session:
            return (await session.execute(_STANDING, {"id": self.vps_id})).one()

    def _joins(self, standing: Any) -> bool:  # noqa: ANN401 - a row
        """Say whether the system that is there joins now; it does once."""
        is_new = len(self.disks) - 1 not in self.joined
        return is_new and standing.may_join and (not self.joins_by_program or standing.programs >= len(self.joined))

    async def _serve(self, standing: Any) -> None:  # noqa: ANN401 - a row
        if standing.is_asked:
            async with self.database.system() as session:
                commands = await take_commands(session, self.vps_id, standing.link_session)
            for command in commands:
                result = await asyncio.to_thread(self.perform, command)
                async with self.database.system() as session:
                    await record_command_result(session, self.vps_id, result)

    async def _configure(self) -> None:
        """Have it be what it should be, unless that is held back."""
        try:
            async with self.database.system() as session:
                await load_desired_state(session, self.vps_id, self.sealer, ["192.0.2.53"])
        except Conflict:
            return
        if not self.disk.mail.exists():
            self.wrong.append("a server without its mail was told what it should be")
        self.disk.host.active |= SERVICES
        async with self.database.system() as session:
            await session.execute(_APPLY, {"id": self.vps_id})

    async def _cut_link(self) -> None:
        async with self.database.system() as session:
            await session.execute(_LINK, {"id": self.vps_id, "link": None})

    def perform(self, command: Command) -> CommandResult:
        """Do what its agent is told."""
        step = command.keep_mail.WhichOneof("step") if command.WhichOneof("deed") == "keep_mail" else None
        if step is None:
            return self.disk.perform(command)
        self.asked.append(step)
        if step == self.refuses:
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_REFUSED, detail=f"it refuses: {step}")
        had = bool(self.disk.contents())
        result = self.disk.perform(command)
        self.restored += bool(self.disk.contents()) and not had
        return result
