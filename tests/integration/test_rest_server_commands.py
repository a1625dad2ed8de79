"""Restart and logs over REST, with a real hub between and an agent that answers as told."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.rest import server_commands
from control_plane.rest.pages import LONGEST_CURSOR
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.link_pb2 import AgentMessage
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem
from tests.integration.running_hub import AgentLink, RunningHub, running_hub


@pytest.fixture
async def hub(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(database, redis_server.url, tmp_path) as running:
        yield running


@pytest.fixture
async def vps_id(hub: RunningHub, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(hub.database, tenant)


@contextlib.asynccontextmanager
async def answering(
    hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID, *answers: CommandResult
) -> AsyncIterator[list[Command]]:
    """An agent that answers its commands in turn."""
    heard: list[Command] = []

    async def answer(link: AgentLink) -> None:
        for result in answers:
            command = (await link.receive("command")).command
            heard.append(command)
            result.id = command.id
            await link.send(AgentMessage(command_result=result))

    async with hub.linked(await hub.credentials(tenant.id, vps_id)) as link:
        task = asyncio.create_task(answer(link))
        yield heard
        await task


def done(*, detail: str = "", output: str = "", truncated: bool = False, place: str = "") -> CommandResult:
    return CommandResult(
        outcome=CommandResult.OUTCOME_DONE, detail=detail, output=output, truncated=truncated, next=place
    )


async def test_the_mail_server_is_restarted(
    rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    async with answering(hub, tenant, vps_id, done(detail="restarted postfix")) as heard:
        answer = await rest_client.post(f"vps/{vps_id}/mail-server/restart")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["state"], body["detail"], body["kind"]) == ("done", "restarted postfix", "restart_mail_server")
    assert [command.WhichOneof("deed") for command in heard] == ["restart_mail_server"]
    assert (await rest_client.get(f"vps/{vps_id}/commands/{body['id']}")).json() == body


async def test_another_certificate_is_asked_for(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant,
    vps_id: uuid.UUID,
) -> None:  # fmt: skip
    refused = CommandResult(outcome=CommandResult.OUTCOME_REFUSED, detail="no certificate authority is set")
    async with answering(hub, tenant, vps_id, done(detail="the certificate authority is asked"), refused) as heard:
        answer = await rest_client.post(f"vps/{vps_id}/certificate:renew")
        problem(await rest_client.post(f"vps/{vps_id}/certificate:renew"), 409, "conflict")
    assert (answer.status_code, answer.json()["kind"]) == (200, "issue_certificate")
    assert (heard[0].issue_certificate.renew, heard[0].issue_certificate.port_open_seconds) == (True, 0)
    problem(await other_client.post(f"vps/{vps_id}/certificate:renew"), 404, "not-found")


async def test_a_restart_that_fails_says_why(
    rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    failed = CommandResult(outcome=CommandResult.OUTCOME_FAILED, detail="dovecot does not start")
    async with answering(hub, tenant, vps_id, failed):
        body = problem(await rest_client.post(f"vps/{vps_id}/mail-server/restart"), 503, "unavailable")
    assert "dovecot does not start" in body["detail"]


async def test_a_server_that_cannot_be_reached_is_said_so(
    rest_client: httpx.AsyncClient, vps_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_commands, "_LIFE", server_commands._LIFE / 100)
    body = problem(await rest_client.post(f"vps/{vps_id}/mail-server/restart"), 503, "unavailable")
    assert body["detail"] == "The server cannot be reached now; nothing was done."


async def test_lines_of_the_log_come_masked_and_say_where_they_go_on(
    rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    pages = (done(output="one\npassword=x\n", truncated=True, place="5-14"), done(output="two\n", place="5-18"))
    async with answering(hub, tenant, vps_id, *pages) as heard:
        first = (await rest_client.get(f"vps/{vps_id}/logs", params={"lines": 2})).json()
        rest = (await rest_client.get(f"vps/{vps_id}/logs", params={"lines": 3, "after": first["next"]})).json()
    assert (first["lines"], first["truncated"]) == (["one", "password=[masked]"], True)
    assert (rest["lines"], rest["truncated"]) == (["two"], False)
    asked = [(command.read_mail_log.lines, command.read_mail_log.after) for command in heard]
    assert asked == [(2, ""), (3, "5-14")]
    problem(await rest_client.get(f"vps/{vps_id}/logs", params={"after": "5-14"}), 400, "invalid-cursor")


async def test_a_followed_log_comes_as_events_until_the_server_is_away(
    rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(server_commands, "_FOLLOW_PAUSE_SECONDS", 0.0)
    refused = CommandResult(outcome=CommandResult.OUTCOME_REFUSED, detail="enough")
    pages = (done(output="one\n", place="5-4"), done(output="two\n", place="5-8"), refused)
    async with answering(hub, tenant, vps_id, *pages) as heard:
        answer = await rest_client.get(f"vps/{vps_id}/logs", params={"follow": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    one, two, end = answer.text.removesuffix("\n\n").split("\n\n")
    assert [event.split("\n")[1] for event in (one, two)] == ["data: one", "data: two"]
    assert one.split("\n")[0].startswith("id: ")
    assert one.split("\n")[0] != two.split("\n")[0]
    assert end == "event: end\ndata: The server refused: enough."
    assert [command.read_mail_log.after for command in heard] == ["", "5-4", "5-8"]


@pytest.mark.parametrize(
    "query", [{"lines": 0}, {"lines": 1001}, {"after": "x" * (LONGEST_CURSOR + 1)}, {"follow": "perhaps"}]
)
async def test_a_bad_query_is_refused(
    rest_client: httpx.AsyncClient, vps_id: uuid.UUID, query: dict[str, str | int]
) -> None:
    problem(await rest_client.get(f"vps/{vps_id}/logs", params=query), 422, "invalid-input")


async def test_another_tenants_server_is_not_there(
    other_client: httpx.AsyncClient, rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant,
    vps_id: uuid.UUID,
) -> None:  # fmt: skip
    problem(await other_client.post(f"vps/{vps_id}/mail-server/restart"), 404, "not-found")
    problem(await other_client.get(f"vps/{vps_id}/logs"), 404, "not-found")
    async with answering(hub, tenant, vps_id, done()):
        body = (await rest_client.post(f"vps/{vps_id}/mail-server/restart")).json()
    problem(await other_client.get(f"vps/{vps_id}/commands/{body['id']}"), 404, "not-found")
    problem(await rest_client.get(f"vps/{uuid.uuid4()}/commands/{body['id']}"), 404, "not-found")


async def test_a_command_says_who_asked_for_it(
    rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    async with answering(hub, tenant, vps_id, done()):
        assert (await rest_client.post(f"vps/{vps_id}/mail-server/restart")).status_code == 200
    (key,) = (await rest_client.get("api-keys")).json()["items"]
    async with hub.database.system() as session:
        assert await session.scalar(text("SELECT requested_by FROM server_commands")) == f"api-key {key['id']}"
