"""The rebuild of one server in one case: what is played of it, and what must be so in the end.

Mail comes for it when the rebuild is over. So a worker that comes back after that and rebuilds once more, or brings
mail back once more, is seen by what is missing.
"""

import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, text

from control_plane.providers.base import JoinsServers
from control_plane.sealing import Sealer
from db.session import Database
from tests.fakes.rebuilt_server import RebuiltServer
from tests.provisioning_faults.clouds import Cloud

#: Of each message; two blocks of the archive in all.
_MESSAGES, _OCTETS = 4, 60_000
_IDENTITY = text("SELECT provider_server_id, ip_address, hostname FROM vps_servers WHERE id = :id")
_LEFT = text(
    "SELECT (SELECT count(*) FROM mail_blocks b JOIN server_rebuilds r ON r.id = b.rebuild_id WHERE r.vps_id = :id)"
    " AS blocks, (SELECT count(*) FROM server_commands WHERE vps_id = :id AND kind = 'keep_mail') AS commands,"
    " (SELECT count(*) FROM pauses WHERE vps_id = :id AND resumed_at IS NULL) AS pauses,"
    " (SELECT count(*) FROM server_rebuilds WHERE vps_id = :id"
    "  AND (holds_configuration OR key_sealed IS NOT NULL OR finished_at IS NULL)) AS rebuilds,"
    " (SELECT count(*) FROM vps_servers WHERE id = :id AND draining_since IS NOT NULL) AS drained"
)
_RUN = text("SELECT state, error FROM pipeline_runs WHERE subject_id = :id AND kind = 'vps.rebuild'")
_IDENTITIES = text("SELECT count(*) FROM agent_certificates WHERE vps_id = :id AND revoked_at IS NULL")


@dataclass
class Rebuilt:
    """A server that is rebuilt, as it was before."""

    server: RebuiltServer
    cloud: Cloud
    identity: Row[Any]
    mail: dict[str, bytes]

    def receive_late(self) -> None:
        """Have a message come, now that it is a mail server again."""
        self.server.disk.deliver("new/late", b"It came when all was over.")
        self.mail["acme.example/sales/Maildir/new/late"] = b"It came when all was over."

    async def wrong(self, ends: frozenset[str]) -> list[str]:
        """Say what should not be so; `ends` is what the run may be."""
        server = self.server
        async with server.database.system() as session:
            key = {"id": server.vps_id}
            run = (await session.execute(_RUN, key)).one()
            left = (await session.execute(_LEFT, key)).one()
            identities = await session.scalar(_IDENTITIES, key)
            identity = (await session.execute(_IDENTITY, key)).one()
        done = run.state == "done"
        last = self.cloud.rebuilds()
        held = {
            f"the run is {run.state}: {run.error}": run.state in ends,
            f"of {last} rewritten disks {sorted(server.joined)} were joined": server.joined == {0, last},
            f"the disk was overwritten {last} times": bool(last) is done,
            f"the mail was brought back {server.restored} times": server.restored == int(done),
            f"its mail is {sorted(server.disk.contents())}": server.disk.contents() == self.mail,
            "it is no mail server any more": server.disk.runs,
            f"left: {left}": not any(left),
            f"it has {identities} identities": identities == 1,
            f"it was {self.identity}, and is {identity}": identity == self.identity,
        }
        return [*server.wrong, *(what for what, is_so in held.items() if not is_so)]


@asynccontextmanager
async def rebuilt_server(
    database: Database, tenant_id: uuid.UUID, vps_id: uuid.UUID, cloud: Cloud, *, sealer: Sealer, refuses: str | None
) -> AsyncIterator[Rebuilt]:
    """Play a server, with mail, that is about to be rebuilt; it refuses that step of keeping mail."""
    async with database.system() as session:
        identity = (await session.execute(_IDENTITY, {"id": vps_id})).one()
    by_program = isinstance(cloud.provider, JoinsServers)
    with tempfile.TemporaryDirectory(prefix="penguin-disks-") as folder:
        server = RebuiltServer(
            database, tenant_id, vps_id, Path(folder), sealer, cloud.rebuilds, joins_by_program=by_program
        )
        server.refuses = refuses
        server.disk.fill(_MESSAGES, _OCTETS)
        # When it joins and is configured, the case says, round by round.
        async with server.answering():
            yield Rebuilt(server, cloud, identity, server.disk.contents())
