"""Commands from the row to the agent's link and back, through a real hub."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.errors import InvalidInput, NotFound
from control_plane.fleet.commands import (
    CommandOrder,
    CommandState,
    await_command,
    command_state,
    record_command_result,
    request_command,
    settle_commands,
    take_commands,
)
from protos.agent.v1.commands_pb2 import Command, CommandResult, FlushQueue, ReadMailLog
from protos.agent.v1.link_pb2 import AgentMessage
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.running_hub import Credentials, RunningHub, running_hub

FLUSH = Command(flush_queue=FlushQueue())


@pytest.fixture
async def hub(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(database, redis_server.url, tmp_path) as running:
        yield running


@pytest.fixture
async def agent(hub: RunningHub, tenant: SomeTenant) -> Credentials:
    return await hub.credentials(tenant.id, await make_server(hub.database, tenant))


async def ask(
    hub: RunningHub,
    tenant: SomeTenant,
    vps_id: uuid.UUID,
    command: Command = FLUSH,
    life: timedelta = timedelta(seconds=30),
) -> uuid.UUID:
    """Ask as the API does: under the tenant's own role."""
    async with hub.database.tenant(tenant.id) as session:
        return await request_command(session, CommandOrder(tenant.id, vps_id, command, "api-key x", life))


async def state(hub: RunningHub, tenant: SomeTenant, command_id: uuid.UUID) -> CommandState:
    async with hub.database.tenant(tenant.id) as session:
        return await command_state(session, tenant.id, command_id)


async def test_a_command_reaches_the_agent_and_its_result_comes_back(
    hub: RunningHub, tenant: SomeTenant, agent: Credentials
) -> None:
    async with hub.linked(agent) as link:
        command_id = await ask(hub, tenant, agent.vps_id, Command(read_mail_log=ReadMailLog(lines=7)))
        command = (await link.receive("command")).command
        assert command.id == command_id.bytes
        assert command.read_mail_log.lines == 7
        assert 0 < command.seconds_left <= 30
        assert (await state(hub, tenant, command_id)).state == "sent"

        done = CommandResult.OUTCOME_DONE
        result = CommandResult(id=command.id, outcome=done, output="li\0ne\n", truncated=True, next="1-2")
        await link.send(AgentMessage(command_result=result))
        over = await await_command(hub.database, tenant.id, command_id, 20.0)
    assert (over.state, over.output, over.truncated, over.next) == ("done", "li\ufffdne\n", True, "1-2")


async def test_a_command_waits_for_its_server_to_come_back_and_is_sent_once(
    hub: RunningHub, tenant: SomeTenant, agent: Credentials
) -> None:
    first = await ask(hub, tenant, agent.vps_id)
    async with hub.linked(agent) as link:
        assert (await link.receive("command")).command.id == first.bytes
    async with hub.linked(agent) as link:
        second = await ask(hub, tenant, agent.vps_id)
        assert (await link.receive("command")).command.id == second.bytes


async def test_only_the_hub_with_the_newest_link_takes_it(
    hub: RunningHub, tenant: SomeTenant, agent: Credentials
) -> None:
    await ask(hub, tenant, agent.vps_id)
    async with hub.database.system() as session:
        assert await take_commands(session, agent.vps_id, uuid.uuid4()) == []


async def test_what_did_not_reach_its_server_in_time_is_expired_and_never_sent(
    hub: RunningHub, tenant: SomeTenant, agent: Credentials
) -> None:
    command_id = await ask(hub, tenant, agent.vps_id, life=timedelta(0))
    assert (await await_command(hub.database, tenant.id, command_id, 20.0)).state == "expired"
    async with hub.linked(agent) as link:
        later = await ask(hub, tenant, agent.vps_id)
        assert (await link.receive("command")).command.id == later.bytes
    async with hub.database.system() as session:
        await settle_commands(session)
    over = await state(hub, tenant, command_id)
    assert (over.state, over.detail) == ("expired", "the server was not reached in time; nothing was done")


async def test_what_was_sent_and_not_answered_is_unknown_until_the_answer_comes(
    hub: RunningHub, tenant: SomeTenant, agent: Credentials
) -> None:
    async with hub.linked(agent) as link:
        command_id = await ask(hub, tenant, agent.vps_id)
        command = (await link.receive("command")).command
        async with hub.database.system() as session:
            await session.execute(text("UPDATE server_commands SET deadline = now() - interval '6 seconds'"))
            await settle_commands(session)
        assert (await state(hub, tenant, command_id)).state == "unknown"
        async with hub.database.system() as session:
            refused = CommandResult(id=command.id, outcome=CommandResult.OUTCOME_REFUSED, detail="no")
            await record_command_result(session, agent.vps_id, refused)
    over = await state(hub, tenant, command_id)
    assert (over.state, over.detail) == ("refused", "no")


async def test_another_server_cannot_answer_and_another_tenant_cannot_look(
    hub: RunningHub, tenant: SomeTenant, other_tenant: SomeTenant, agent: Credentials
) -> None:
    async with hub.linked(agent) as link:
        command_id = await ask(hub, tenant, agent.vps_id)
        await link.receive("command")
        async with hub.database.system() as session:
            answer = CommandResult(id=command_id.bytes, outcome=CommandResult.OUTCOME_DONE)
            await record_command_result(session, uuid.uuid4(), answer)
        assert (await state(hub, tenant, command_id)).state == "sent"
        with pytest.raises(NotFound):
            await state(hub, other_tenant, command_id)


async def test_a_result_without_an_id_is_refused(hub: RunningHub, agent: Credentials) -> None:
    async with hub.database.system() as session:
        with pytest.raises(InvalidInput):
            await record_command_result(session, agent.vps_id, CommandResult(id=b"short"))


async def test_what_was_read_is_forgotten_after_an_hour(
    hub: RunningHub, tenant: SomeTenant, agent: Credentials
) -> None:
    async with hub.linked(agent) as link:
        command_id = await ask(hub, tenant, agent.vps_id)
        await link.receive("command")
    async with hub.database.system() as session:
        result = CommandResult(id=command_id.bytes, outcome=CommandResult.OUTCOME_DONE, output="mail")
        await record_command_result(session, agent.vps_id, result)
        await settle_commands(session)
    assert (await state(hub, tenant, command_id)).output == "mail"
    async with hub.database.system() as session:
        await session.execute(text("UPDATE server_commands SET finished_at = now() - interval '61 minutes'"))
        await settle_commands(session)
    over = await state(hub, tenant, command_id)
    assert (over.state, over.output) == ("done", None)
