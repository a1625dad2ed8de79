"""Bans and stolen identities, with real hubs: whoever may not hold a link loses it within a second, at every hub."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.monitoring.alert_rules import read_rules
from control_plane.monitoring.watch import look
from control_plane.operators.admission import ban, re_enrol, unban
from db.session import Database
from protos.agent.v1.link_pb2 import AgentMessage, Pong
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.operators.door import TESTER
from tests.integration.running_hub import AgentLink, Credentials, RunningHub, running_hub


@pytest.fixture
async def hubs(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[list[RunningHub]]:
    """Two hubs of one installation."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_hub(database, redis_server.url, tmp_path)) for _ in range(2)]


@pytest.fixture
async def agent(hubs: list[RunningHub], tenant: SomeTenant, system_database: Database) -> Credentials:
    return await hubs[0].credentials(tenant.id, await make_server(system_database, tenant))


async def answer(link: AgentLink) -> None:
    """Answer the challenge, as an agent does that is there."""
    nonce = (await link.receive("ping")).ping.nonce
    await link.send(AgentMessage(pong=Pong(nonce=nonce)))


async def alerts(database: Database) -> set[tuple[str, str]]:
    async with database.system() as session:
        await look(session, read_rules(), utc_now())
        rows = await session.execute(text("SELECT rule, state FROM alerts WHERE state <> 'resolved'"))
        return {(row.rule, row.state) for row in rows}


@pytest.mark.parametrize("second_at", [0, 1])
async def test_two_live_links_with_one_certificate_are_both_cut_and_told_of(
    hubs: list[RunningHub], agent: Credentials, system_database: Database, second_at: int
) -> None:
    async with hubs[0].linked(agent) as first, hubs[second_at].linked(agent) as second:
        started = time.monotonic()
        await answer(first)
        ends = set(await asyncio.gather(first.ended_with(), second.ended_with()))
        assert time.monotonic() - started < 2
    assert ends == {grpc.StatusCode.PERMISSION_DENIED}
    assert ("identity_cloned", "open") in await alerts(system_database)
    async with hubs[0].opened(agent) as link:
        assert await link.ended_with() is grpc.StatusCode.PERMISSION_DENIED

    async with system_database.system() as session:
        token = await re_enrol(session, TESTER, agent.vps_id, "its disk was copied")
    assert token
    assert ("identity_cloned", "open") not in await alerts(system_database)


async def test_an_agent_that_comes_again_from_a_dead_link_is_no_clone(
    hubs: list[RunningHub], agent: Credentials, system_database: Database
) -> None:
    async with hubs[0].linked(agent) as dead, hubs[1].linked(agent) as alive:
        assert await dead.ended_with() is grpc.StatusCode.UNAVAILABLE
        await alive.send(AgentMessage(pong=Pong(nonce=b"of nothing that was asked")))
        async with system_database.system() as session:
            assert await session.scalar(text("SELECT cloned_at FROM vps_servers")) is None


async def test_a_banned_server_loses_its_link_within_a_second_at_whichever_hub(
    hubs: list[RunningHub], tenant: SomeTenant, agent: Credentials, system_database: Database
) -> None:
    other = await hubs[0].credentials(tenant.id, await make_server(system_database, tenant))
    for hub, banned in zip(hubs, (agent, other), strict=True):
        async with hub.linked(banned) as link:
            async with system_database.system() as session:
                await ban(session, TESTER, banned.vps_id, "it sends what it should not")
            started = time.monotonic()
            assert await link.ended_with() is grpc.StatusCode.PERMISSION_DENIED
            assert time.monotonic() - started < 1
    async with system_database.system() as session:
        await unban(session, TESTER, agent.vps_id, "a mistake")
    async with hubs[0].linked(agent):
        pass


async def test_nobody_bans_a_server_that_there_is_not(system_database: Database) -> None:
    async with system_database.system() as session:
        with pytest.raises(Exception, match="no server"):
            await ban(session, TESTER, uuid.uuid4(), None)
