"""What operators do to servers' runs and to strays, each act recorded with it."""

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.operators.acts import Act, Actor, record
from control_plane.pipelines.runs import look_again
from control_plane.pipelines.standing import RunStanding, runs_of
from control_plane.provisioning.strays import mark_for_reaping
from db.models import VpsServer


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """A server's row, and its runs, newest first."""

    row: VpsServer
    runs: tuple[RunStanding, ...]


async def server_standing(session: AsyncSession, vps_id: uuid.UUID) -> ServerStanding:
    """Return how a server of any tenant stands; raise `NotFound`."""
    query = select(VpsServer).where(VpsServer.id == vps_id).execution_options(populate_existing=True)
    row = await session.scalar(query)
    if row is None:
        raise NotFound(f"there is no server {vps_id}")
    return ServerStanding(row, tuple(await runs_of(session, row.tenant_id, vps_id)))


async def resume(session: AsyncSession, actor: Actor, vps_id: uuid.UUID, reason: str | None = None) -> RunStanding:
    """Have a server's run that waits for a person looked at again now, and return it; raise `Conflict` for none."""
    standing = await server_standing(session, vps_id)
    for run in standing.runs:
        if run.state == "needs_person":
            await look_again(session, run.tenant_id, run.id)
            await record(session, actor, Act.RESUME_RUN, {"vps_id": vps_id, "run_id": run.id}, reason)
            return run
    raise Conflict(f"no run of the server {standing.row.hostname} waits for a person")


async def reap(session: AsyncSession, actor: Actor, provider: str, name: str, reason: str | None = None) -> None:
    """Let the worker delete an orphan at its provider; raise `NotFound` when it is none."""
    await mark_for_reaping(session, provider, name)
    await record(session, actor, Act.REAP, {"provider": provider, "name": name}, reason)
