"""Moving an inbox: what is refused, what the two servers should be meanwhile, and that it can be taken back."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import inbox as inbox_cli
from control_plane.errors import Conflict
from control_plane.fleet.desired import load_desired_state
from control_plane.inboxes.passwords import dovecot_hash
from control_plane.pipelines.step import Done, Run, Step
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.steps.leave_server import (
    AwaitQuiet,
    CloseSource,
    FinishMove,
    Forward,
    HandSendsOver,
    TakeOver,
)
from control_plane.provisioning.steps.move_inbox import Hold, OpenSource, Switch
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.configuration_pb2 import MailServer
from tests.integration.database import FreshDatabase, SomeTenant, make_tenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server
from tests.integration.rest import problem

SEALER = Sealer(bytes(32))


class Ground:
    """An inbox, the server that it is on, and another."""

    def __init__(self, database: Database, tenant: SomeTenant) -> None:
        self.database = database
        self.tenant = tenant

    async def open(self) -> None:
        self.source, self.target = [await make_server(self.database, self.tenant) for _ in range(2)]
        for vps_id in (self.source, self.target):
            sealed = SEALER.seal(b"long-enough-for-a-probe", f"vps_servers.probe_password:{vps_id}")
            await self.execute(
                "UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id", id=vps_id, sealed=sealed
            )
        await self.execute(
            "UPDATE vps_servers SET ip_address = '10.77.1.2', ipv6_address = '2001:db8::2' WHERE id = :id",
            id=self.target,
        )
        self.inbox = await make_inbox(self.database, self.tenant, self.source)
        await self.execute("UPDATE inboxes SET password_hash = :hashed", hashed=dovecot_hash("secret"))

    async def second_inbox(self) -> uuid.UUID:
        """Return the id of another inbox of the domain."""
        rows = await self.rows(
            "INSERT INTO inboxes (tenant_id, workspace_id, domain_id, email_address, vps_id, status, password_hash)"
            " SELECT tenant_id, workspace_id, domain_id, replace(email_address, 'sales@', 'help@'), vps_id, status,"
            " password_hash FROM inboxes WHERE id = :id RETURNING id",
            id=self.inbox.id,
        )
        return uuid.UUID(str(rows[0].id))

    async def execute(self, statement: str, **values: object) -> None:
        async with self.database.system() as session:
            await session.execute(text(statement), values)

    async def rows(self, query: str, **values: object) -> list[Row[Any]]:
        async with self.database.system() as session:
            return list(await session.execute(text(query), values))

    async def step(self, step: Step[StepContext], *, undo: bool = False) -> None:
        """Do the step, or take it back, and write what it says."""
        settings = Settings.model_validate({"state_dir": "/nowhere"})
        environment = Environment(self.database, {}, None, settings, SEALER)  # type: ignore[arg-type] # not used here
        context = StepContext(environment, Run(uuid.uuid4(), self.tenant.id, "inbox.move", self.inbox.id, {}))
        outcome = await (step.undo(context) if undo else step.run(context))
        assert isinstance(outcome, Done), outcome
        if outcome.apply:
            async with self.database.system() as session:
                await outcome.apply(session)

    async def should_be(self, vps_id: uuid.UUID) -> MailServer:
        async with self.database.system() as session:
            return (await load_desired_state(session, vps_id, SEALER, ["10.77.0.53"])).server

    async def state(self) -> str:
        return str((await self.rows("SELECT state FROM inbox_moves"))[0].state)


@pytest.fixture
async def ground(system_database: Database, tenant: SomeTenant) -> Ground:
    made = Ground(system_database, tenant)
    await made.open()
    return made


async def _refusal(client: httpx.AsyncClient, ground: Ground, vps_id: uuid.UUID) -> str:
    answer = await client.post(f"inboxes/{ground.inbox.id}/move", json={"vps_id": str(vps_id)})
    return str(problem(answer, 409, "conflict")["detail"])


async def test_a_move_is_refused_with_what_stands_in_the_way(rest_client: httpx.AsyncClient, ground: Ground) -> None:
    stranger = await make_server(ground.database, await make_tenant(ground.database, "Stranger"))
    assert "already" in await _refusal(rest_client, ground, ground.source)
    assert "no such server" in await _refusal(rest_client, ground, stranger)
    assert "no such server" in await _refusal(rest_client, ground, uuid.uuid4())
    await ground.execute("UPDATE vps_servers SET status = 'failed' WHERE id = :id", id=ground.target)
    assert "failed" in await _refusal(rest_client, ground, ground.target)
    await ground.execute(
        "UPDATE vps_servers SET status = 'ready', draining_since = now() WHERE id = :id", id=ground.target
    )
    assert "drained" in await _refusal(rest_client, ground, ground.target)
    await ground.execute("UPDATE vps_servers SET draining_since = NULL")
    await ground.execute(
        "INSERT INTO pipeline_runs (id, tenant_id, kind, subject_id)"
        " VALUES (gen_random_uuid(), :tenant, 'inbox.setup', :id)",
        tenant=ground.tenant.id,
        id=ground.inbox.id,
    )
    assert "inbox.setup" in await _refusal(rest_client, ground, ground.target)
    assert await ground.rows("SELECT FROM inbox_moves") == []


async def test_an_inbox_that_moves_holds_both_servers_and_itself(
    rest_client: httpx.AsyncClient, ground: Ground
) -> None:
    path = f"inboxes/{ground.inbox.id}"
    asked = await rest_client.post(f"{path}/move", json={"vps_id": str(ground.target)})
    assert (asked.status_code, asked.json()["kind"]) == (202, "inbox.move")

    assert "already" in await _refusal(rest_client, ground, ground.target)
    assert "moves" in problem(await rest_client.delete(path), 409, "conflict")["detail"]
    assert "moves" in problem(await rest_client.delete(f"vps/{ground.target}"), 409, "conflict")["detail"]


async def test_what_both_servers_should_be_follows_the_move(rest_client: httpx.AsyncClient, ground: Ground) -> None:
    await make_sends(ground.database, ground.inbox, 3)
    await rest_client.post(f"inboxes/{ground.inbox.id}/move", json={"vps_id": str(ground.target)})
    await ground.step(OpenSource())
    source, target = await ground.should_be(ground.source), await ground.should_be(ground.target)
    address = source.mailboxes[0].address
    (door,) = source.copy_doors
    assert (door.address, door.client_ipv4_address, door.client_ipv6_address) == (address, "10.77.1.2", "2001:db8::2")
    assert [(copy.address, copy.login) for copy in target.copies] == [(address, source.copy_doors[0].login)]
    assert [box.address for box in target.mailboxes] == [address]
    assert (len(target.domains), len(source.forwards)) == (1, 0)
    # What is sent to the copy goes to the mailbox itself: the next copy would make it disappear.
    assert [(each.address, each.host) for each in target.forwards] == [(address, source.hostname)]

    await ground.step(Hold())
    source, target = await ground.should_be(ground.source), await ground.should_be(ground.target)
    assert [(each.address, each.host) for each in source.forwards] == [(address, "")]
    assert (len(source.mailboxes), len(source.domains), len(source.copy_doors)) == (0, 1, 1)
    assert (len(target.mailboxes), len(target.domains), len(target.copies), len(target.forwards)) == (1, 1, 1, 1)

    await ground.step(Switch())
    await ground.step(TakeOver())
    # Nothing is passed on to the target before it has stopped passing it back.
    source, target = await ground.should_be(ground.source), await ground.should_be(ground.target)
    assert [(each.address, each.host) for each in source.forwards] == [(address, "")]
    assert len(target.forwards) == 0

    await ground.step(Forward())
    await ground.step(HandSendsOver())
    source, target = await ground.should_be(ground.source), await ground.should_be(ground.target)
    assert [(each.address, each.host) for each in source.forwards] == [(address, target.hostname)]
    assert (len(source.mailboxes), len(source.domains), len(source.copy_doors)) == (0, 1, 0)
    assert (len(target.mailboxes), len(target.domains), len(target.copies)) == (1, 1, 0)
    assert {row.vps_id for row in await ground.rows("SELECT vps_id FROM messages")} == {ground.target}
    runs = await ground.rows("SELECT kind FROM pipeline_runs ORDER BY created_at")
    assert [run.kind for run in runs] == ["inbox.move", "inbox.leave_server"]

    await ground.execute("UPDATE inbox_moves SET forward_until = now()")
    for step in (AwaitQuiet(), CloseSource()):
        await ground.step(step)
    source = await ground.should_be(ground.source)
    assert (len(source.forwards), len(source.domains), len(source.copy_doors)) == (0, 0, 0)

    await ground.step(FinishMove())
    assert await ground.state() == "done"
    source, target = await ground.should_be(ground.source), await ground.should_be(ground.target)
    assert (len(source.copy_doors), len(target.copies), len(target.mailboxes)) == (0, 0, 1)
    assert (await ground.rows("SELECT password_sealed, password_hash FROM inbox_moves"))[0] == (None, None)


async def test_all_inboxes_of_a_domain_move_together(rest_client: httpx.AsyncClient, ground: Ground) -> None:
    second = await ground.second_inbox()
    await ground.execute("UPDATE inboxes SET status = 'failed' WHERE id = :id", id=second)
    assert "help@" in await _refusal(rest_client, ground, ground.target)
    await ground.execute("UPDATE inboxes SET status = 'ready' WHERE id = :id", id=second)

    await rest_client.post(f"inboxes/{ground.inbox.id}/move", json={"vps_id": str(ground.target)})
    assert "moves" in problem(await rest_client.delete(f"inboxes/{second}"), 409, "conflict")["detail"]
    await ground.step(OpenSource())
    source, target = await ground.should_be(ground.source), await ground.should_be(ground.target)
    assert len({door.password_hash for door in source.copy_doors}) == len(target.copies) == 2

    for step in (Hold(), Switch(), Forward()):
        await ground.step(step)
    source, target = await ground.should_be(ground.source), await ground.should_be(ground.target)
    assert [len(server.mailboxes) for server in (source, target)] == [0, 2]
    assert {each.host for each in source.forwards} == {target.hostname}
    assert len(source.forwards) == 2
    hosts = await ground.rows("SELECT vps_id, imap_config ->> 'host' AS host FROM inboxes")
    assert {(row.vps_id, row.host) for row in hosts} == {(ground.target, target.hostname)}

    await ground.execute("UPDATE inbox_moves SET forward_until = now()")
    for last in (AwaitQuiet(), CloseSource(), FinishMove()):
        await ground.step(last)
    assert {row.state for row in await ground.rows("SELECT state FROM inbox_moves")} == {"done"}


async def test_a_move_that_cannot_be_done_leaves_the_inbox_where_it_was(
    rest_client: httpx.AsyncClient, ground: Ground
) -> None:
    before = await ground.should_be(ground.source)
    await rest_client.post(f"inboxes/{ground.inbox.id}/move", json={"vps_id": str(ground.target)})
    await ground.step(OpenSource())
    await ground.step(Hold())
    await ground.step(Hold(), undo=True)
    for _ in range(2):
        await ground.step(OpenSource(), undo=True)
    assert await ground.state() == "undone"
    target = await ground.should_be(ground.target)
    assert await ground.should_be(ground.source) == before
    assert (len(target.mailboxes), len(target.copies), len(target.domains)) == (0, 0, 0)


def test_an_operator_moves_an_inbox_and_it_is_recorded(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        async with closing_database(database) as opened, opened.system() as transaction:
            yield transaction

    async def prepare() -> tuple[uuid.UUID, uuid.UUID]:
        async with closing_database(database) as opened:
            ground = Ground(opened, await make_tenant(opened, "Acme"))
            await ground.open()
            return ground.inbox.id, ground.target

    async def acts() -> list[str]:
        async with closing_database(database) as opened, opened.system() as transaction:
            return list(await transaction.scalars(text("SELECT act FROM operator_acts")))

    monkeypatch.setattr(inbox_cli, "system_session", session)
    inbox_id, target = asyncio.run(prepare())
    done = CliRunner().invoke(inbox_cli.inbox_commands, ["move", str(inbox_id), str(target), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["vps_id"] == str(target)
    assert asyncio.run(acts()) == ["inbox.move"]
    again = CliRunner().invoke(inbox_cli.inbox_commands, ["move", str(inbox_id), str(target)])
    assert isinstance(again.exception, Conflict)


@asynccontextmanager
async def closing_database(database: FreshDatabase) -> AsyncIterator[Database]:
    opened = Database(database.url("penguin_system"), pool_size=1)
    try:
        yield opened
    finally:
        await opened.close()
