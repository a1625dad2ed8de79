"""A rebuild, a move of inboxes, a drain, a removal and the power: which of them keeps which away, also at once."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.inboxes.moves import request_move
from control_plane.provisioning.rebuilding import request_rebuild
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import problem

_BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
_OVER = text("UPDATE pipeline_runs SET state = 'done', finished_at = now()")
_MOVED = text("UPDATE inbox_moves SET state = 'done', finished_at = now()")
_EMPTY = text("DELETE FROM inboxes")
Deed = Callable[[AsyncSession], Awaitable[uuid.UUID]]


@dataclass
class Ground:
    """An inbox, its server, and another that it may move to."""

    database: Database
    tenant: SomeTenant
    inbox: SomeInbox
    target: uuid.UUID

    @property
    def source(self) -> uuid.UUID:
        return self.inbox.vps_id

    async def move(self, session: AsyncSession) -> uuid.UUID:
        return await request_move(session, TenantScope(self.tenant.id, frozenset()), self.inbox.id, self.target)

    def rebuild(self, vps_id: uuid.UUID) -> Deed:
        async def deed(session: AsyncSession) -> uuid.UUID:
            return await request_rebuild(session, tenant_id=self.tenant.id, vps_id=vps_id)

        return deed

    async def execute(self, *statements: TextClause) -> None:
        async with self.database.system() as session:
            for statement in statements:
                await session.execute(statement)

    async def open_deeds(self) -> tuple[int, int]:
        """Return how many rebuilds and moves there are."""
        async with self.database.system() as session:
            rebuilds = await session.scalar(text("SELECT count(*) FROM pipeline_runs WHERE kind = 'vps.rebuild'"))
            moves = await session.scalar(text("SELECT count(*) FROM inbox_moves"))
        return int(rebuilds or 0), int(moves or 0)

    async def somebody_waits(self) -> None:
        async with asyncio.timeout(10):
            while True:
                async with self.database.system() as session:
                    if await session.scalar(_BLOCKED):
                        return
                await asyncio.sleep(0.02)


@pytest.fixture
async def ground(system_database: Database, tenant: SomeTenant) -> Ground:
    source, target = [await make_server(system_database, tenant) for _ in range(2)]
    return Ground(system_database, tenant, await make_inbox(system_database, tenant, source), target)


async def test_a_server_is_not_rebuilt_while_inboxes_move_there_or_away(
    rest_client: httpx.AsyncClient, ground: Ground
) -> None:
    asked = await rest_client.post(f"inboxes/{ground.inbox.id}/move", json={"vps_id": str(ground.target)})
    assert asked.status_code == 202
    for vps_id in (ground.source, ground.target):
        refused = problem(await rest_client.post(f"vps/{vps_id}/rebuild"), 409, "conflict")
        assert refused["detail"].endswith("moves to the server or away from it; rebuild it when that is over.")
        # What a hanging server needs may be done to it all the same.
        await ground.execute(_OVER)
        assert (await rest_client.post(f"vps/{vps_id}/power", json={"action": "reboot"})).status_code == 202
    await ground.execute(_OVER, _MOVED)
    for vps_id in (ground.source, ground.target):
        assert (await rest_client.post(f"vps/{vps_id}/rebuild")).status_code == 202


@pytest.mark.parametrize("which", ["source", "target"])
async def test_inboxes_do_not_move_from_or_to_a_server_that_is_rebuilt(
    rest_client: httpx.AsyncClient, ground: Ground, which: str
) -> None:
    assert (await rest_client.post(f"vps/{getattr(ground, which)}/rebuild")).status_code == 202
    wanted = {"vps_id": str(ground.target)}
    refused = problem(await rest_client.post(f"inboxes/{ground.inbox.id}/move", json=wanted), 409, "conflict")
    assert refused["detail"].endswith("is being rebuilt; move the inboxes when that is over.")
    assert await ground.open_deeds() == (1, 0)
    await ground.execute(_OVER)
    assert (await rest_client.post(f"inboxes/{ground.inbox.id}/move", json=wanted)).status_code == 202


async def test_a_server_that_is_rebuilt_is_neither_drained_nor_switched_nor_removed(
    rest_client: httpx.AsyncClient, ground: Ground
) -> None:
    await ground.execute(_EMPTY)
    server = f"vps/{ground.source}"
    assert (await rest_client.post(f"{server}/rebuild")).status_code == 202
    drain = problem(await rest_client.post(f"{server}/drain"), 409, "conflict")
    assert drain["detail"] == "The server is being rebuilt; drain it after that."
    switched = problem(await rest_client.post(f"{server}/power", json={"action": "off"}), 409, "conflict")
    assert switched["detail"] == "The server has a run that is not over: vps.rebuild."
    assert "rebuilt" in problem(await rest_client.delete(server), 409, "conflict")["detail"]


@pytest.mark.parametrize(
    ("path", "body"), [("drain", None), ("power", {"action": "reboot"}), ("", None)], ids=["drain", "power", "removal"]
)
async def test_a_server_is_not_rebuilt_while_something_else_is_done_to_it(
    rest_client: httpx.AsyncClient, ground: Ground, path: str, body: object
) -> None:
    await ground.execute(_EMPTY)
    server = f"vps/{ground.source}"
    asked = await (rest_client.post(f"{server}/{path}", json=body) if path else rest_client.delete(server))
    assert asked.status_code == 202, asked.text
    problem(await rest_client.post(f"{server}/rebuild"), 409, "conflict")


@pytest.mark.parametrize("which", ["source", "target"])
@pytest.mark.parametrize("first", ["move", "rebuild"])
async def test_of_two_that_are_asked_for_at_once_the_second_waits_and_is_refused(
    ground: Ground, which: str, first: str
) -> None:
    rebuild = ground.rebuild(getattr(ground, which))
    one, other = (ground.move, rebuild) if first == "move" else (rebuild, ground.move)

    async def ask(deed: Deed) -> None:
        async with ground.database.tenant(ground.tenant.id) as session:
            await deed(session)

    async with ground.database.tenant(ground.tenant.id) as session:
        await one(session)
        second = asyncio.create_task(ask(other))
        await ground.somebody_waits()

    with pytest.raises(Conflict, match=r"moves to the server|being rebuilt"):
        await second
    assert await ground.open_deeds() == ((0, 1) if first == "move" else (1, 0))
