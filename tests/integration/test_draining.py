"""Emptying a server, and removing it once it is empty: nothing that waits is lost, and nothing is sent twice."""

import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import Row, text

from control_plane.pipelines.step import AskPerson, Done, Outcome, Run, Step, Wait
from control_plane.provisioning.draining import hold_as_wanted
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.requests import request_removal
from control_plane.provisioning.steps.drain_server import DrainServer
from control_plane.provisioning.steps.hand_over import HandOver
from control_plane.queuer.statements import waiting_lines
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.telemetry_pb2 import HealthReport, PostfixQueue
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server
from tests.integration.rest import problem

_HAVE_SERVER_TAKE = (
    "UPDATE messages SET state = CAST(:state AS text), lease_token = gen_random_uuid(),"
    " lease_deadline = now() + interval '5 min',"
    " queued_at = now(), relayed_at = CASE WHEN CAST(:state AS text) = 'relayed' THEN now() END"
)


@dataclass
class Ground:
    """A server of a tenant, and the steps of its removal."""

    database: Database
    tenant: SomeTenant
    vps_id: uuid.UUID
    drain_seconds: int = 3600

    async def execute(self, statement: str, **values: object) -> None:
        async with self.database.system() as session:
            await session.execute(text(statement), values)

    async def rows(self, query: str, **values: object) -> list[Row[Any]]:
        async with self.database.system() as session:
            return list(await session.execute(text(query), values))

    async def hold(self) -> bool:
        async with self.database.system() as session:
            return await hold_as_wanted(session, self.vps_id)

    async def remove(self, *, force: bool = False) -> None:
        async with self.database.tenant(self.tenant.id) as session:
            await request_removal(session, tenant_id=self.tenant.id, vps_id=self.vps_id, force=force)

    async def step(self, step: Step[StepContext]) -> Outcome:
        settings = Settings.model_validate({"state_dir": "/nowhere", "drain_seconds": self.drain_seconds})
        environment = Environment(self.database, {}, None, settings, None)  # type: ignore[arg-type] # not used here
        run = Run(uuid.uuid4(), self.tenant.id, "vps.decommission", self.vps_id, {})
        return await step.run(StepContext(environment, run))

    async def applied(self) -> None:
        """The server has applied what it should be."""
        await self.execute(
            "UPDATE vps_servers SET applied_version = desired_version, applied_at = clock_timestamp() WHERE id = :id",
            id=self.vps_id,
        )

    async def reports(self, queue: PostfixQueue) -> None:
        report = MessageToJson(HealthReport(postfix_queue=queue), preserving_proto_field_name=True)
        await self.execute(
            "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
            " VALUES (:id, :tenant, now(), clock_timestamp(), CAST(:report AS jsonb)) ON CONFLICT (vps_id)"
            " DO UPDATE SET received_at = excluded.received_at, report = excluded.report",
            id=self.vps_id,
            tenant=self.tenant.id,
            report=report,
        )

    async def pauses(self) -> list[str | None]:
        rows = await self.rows("SELECT reason FROM pauses WHERE vps_id = :id AND resumed_at IS NULL", id=self.vps_id)
        return [row.reason for row in rows]


@pytest.fixture
async def ground(system_database: Database, tenant: SomeTenant) -> Ground:
    return Ground(system_database, tenant, await make_server(system_database, tenant))


async def test_a_server_that_is_drained_gets_no_sends_and_no_inboxes_until_it_is_used_again(
    rest_client: httpx.AsyncClient, ground: Ground
) -> None:
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    await make_sends(ground.database, inbox, 3)
    new = {"email_address": "fish@herring-import.com", "vps_id": str(ground.vps_id)}
    inboxes = f"workspaces/{ground.tenant.workspace_id}/inboxes"
    assert await waiting_lines(ground.database) != []

    for _ in range(2):
        answer = await rest_client.post(f"vps/{ground.vps_id}/drain")
        assert (answer.status_code, answer.json()["status"]) == (202, "ready")
    assert await ground.hold()
    assert await ground.hold()

    assert await waiting_lines(ground.database) == []
    assert "drained" in problem(await rest_client.post(inboxes, json=new), 409, "conflict")["detail"]
    await ground.reports(PostfixQueue(active=1, deferred=2, oldest_seconds=90.0))
    shown = (await rest_client.get(f"vps/{ground.vps_id}")).json()
    assert shown["drain"] == {
        "waiting": 3, "queued": 0, "relayed": 0, "postfix_queue": 3, "oldest_seconds": 90.0,
    }  # fmt: skip
    assert shown["operation"]["kind"] == "vps.hold"
    # Postfix is told once to try what it has deferred.
    assert [row.kind for row in await ground.rows("SELECT kind FROM server_commands")] == ["flush_queue"]

    answer = await rest_client.post(f"vps/{ground.vps_id}/undrain")
    assert (answer.status_code, answer.json()["draining_since"]) == (202, None)
    assert not await ground.hold()
    assert await waiting_lines(ground.database) != []
    assert (await rest_client.get(f"vps/{ground.vps_id}")).json()["drain"] is None
    assert (await rest_client.post(inboxes, json=new)).status_code == 201
    assert [run.kind for run in await ground.rows("SELECT kind FROM pipeline_runs WHERE kind LIKE 'vps.%'")] == [
        "vps.hold",
        "vps.hold",
    ]


async def test_an_operators_pause_outlives_a_draining(rest_client: httpx.AsyncClient, ground: Ground) -> None:
    await ground.execute(
        "INSERT INTO pauses (tenant_id, vps_id, reason, by_operator) VALUES (:tenant, :id, 'abuse', true)",
        tenant=ground.tenant.id,
        id=ground.vps_id,
    )
    await rest_client.post(f"vps/{ground.vps_id}/drain")
    assert await ground.hold()
    await rest_client.post(f"vps/{ground.vps_id}/undrain")
    assert not await ground.hold()
    assert await ground.pauses() == ["abuse"]


async def test_a_new_inbox_goes_to_a_server_that_is_not_drained(rest_client: httpx.AsyncClient, ground: Ground) -> None:
    await ground.execute("UPDATE vps_servers SET created_at = now() - interval '1 day'")
    newest = await make_server(ground.database, ground.tenant)
    await rest_client.post(f"vps/{newest}/drain")
    body = {"email_address": "fish@herring-import.com"}
    made = await rest_client.post(f"workspaces/{ground.tenant.workspace_id}/inboxes", json=body)
    assert made.json()["vps_id"] == str(ground.vps_id)


async def test_what_cannot_be_drained_is_refused(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, ground: Ground
) -> None:
    problem(await other_client.post(f"vps/{ground.vps_id}/drain"), 404, "not-found")
    problem(await other_client.post(f"vps/{ground.vps_id}/undrain"), 404, "not-found")
    await ground.remove()
    problem(await rest_client.post(f"vps/{ground.vps_id}/undrain"), 409, "conflict")
    unready = await make_server(ground.database, ground.tenant, status="provisioning")
    problem(await rest_client.post(f"vps/{unready}/drain"), 409, "conflict")


async def test_a_removal_names_the_inboxes_that_stand_in_its_way(
    rest_client: httpx.AsyncClient, ground: Ground
) -> None:
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    (row,) = await ground.rows("SELECT email_address FROM inboxes WHERE id = :id", id=inbox.id)
    body = problem(await rest_client.delete(f"vps/{ground.vps_id}"), 409, "conflict")
    assert row.email_address in body["detail"]


async def test_a_removal_waits_until_word_came_that_postfix_is_empty(ground: Ground) -> None:
    await ground.reports(PostfixQueue())
    await ground.applied()
    await ground.remove()

    outcome = await ground.step(DrainServer())
    assert isinstance(outcome, Wait)
    assert "no word of its queue" in outcome.reason
    assert await ground.pauses() == ["The server is being drained."]
    await ground.reports(PostfixQueue(deferred=2))
    outcome = await ground.step(DrainServer())
    assert isinstance(outcome, Wait)
    assert "2 messages in Postfix's queue" in outcome.reason
    await ground.reports(PostfixQueue())
    assert await ground.step(DrainServer()) == Done({"left": []})


@pytest.mark.parametrize(
    ("state", "words"), [("queued", "1 sends leased to it"), ("relayed", "1 sends in its Postfix")]
)
async def test_a_removal_waits_for_each_send_that_the_server_has(ground: Ground, state: str, words: str) -> None:
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    await make_sends(ground.database, inbox, 1)
    await ground.execute(_HAVE_SERVER_TAKE, state=state)
    await ground.execute("UPDATE inboxes SET vps_id = NULL")
    await ground.remove()
    outcome = await ground.step(DrainServer())
    assert isinstance(outcome, Wait)
    assert words in outcome.reason
    await ground.execute("UPDATE messages SET state = 'delivered', final_at = now()")
    assert isinstance(await ground.step(DrainServer()), Done)


async def test_a_queue_that_does_not_empty_is_left_to_a_person_who_may_use_force(ground: Ground) -> None:
    await ground.applied()
    await ground.reports(PostfixQueue(deferred=1))
    await ground.remove()
    await ground.execute("UPDATE vps_servers SET removal_requested_at = now() - interval '2 hours'")
    outcome = await ground.step(DrainServer())
    assert isinstance(outcome, AskPerson)
    assert "1 messages in Postfix's queue" in outcome.reason
    await ground.remove(force=True)
    assert await ground.step(DrainServer()) == Done({"left": ["1 messages in Postfix's queue"]})
    assert len(await ground.rows("SELECT FROM pipeline_runs")) == 1


async def test_only_what_is_surely_unsent_goes_over_to_the_server_that_has_the_inbox_now(ground: Ground) -> None:
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    unsent, silent, leased, dead = await make_sends(ground.database, inbox, 4)
    await ground.execute("UPDATE messages SET silent_since = now() WHERE id = :id", id=silent)
    for send_id, state in ((leased, "queued"), (dead, "dead")):
        await ground.execute(f"{_HAVE_SERVER_TAKE} WHERE id = :id", state=state, id=send_id)
    target = await make_server(ground.database, ground.tenant)
    await ground.execute("UPDATE inboxes SET vps_id = :target", target=target)

    assert await ground.step(HandOver()) == Done({"handed_over": 1})

    moved = await ground.rows("SELECT id FROM messages WHERE vps_id = :target", target=target)
    assert [row.id for row in moved] == [unsent]
    (event,) = await ground.rows("SELECT kind, message_id FROM message_events")
    assert (event.kind, event.message_id) == ("requeued", unsent)
    assert [line.vps_id for line in await waiting_lines(ground.database) if line.vps_id == target] == [target]


async def test_sends_do_not_go_over_to_a_server_that_cannot_send_them(ground: Ground) -> None:
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    await make_sends(ground.database, inbox, 1)
    unready = await make_server(ground.database, ground.tenant, status="provisioning")
    await ground.execute("UPDATE inboxes SET vps_id = :target", target=unready)
    assert await ground.step(HandOver()) == Done({"handed_over": 0})


async def test_a_send_that_somebody_has_locked_is_not_left_behind(ground: Ground) -> None:
    """With its server it would be cancelled."""
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    await make_sends(ground.database, inbox, 2)
    target = await make_server(ground.database, ground.tenant)
    await ground.execute("UPDATE inboxes SET vps_id = :target", target=target)
    async with ground.database.system() as session:
        await session.execute(text("SELECT FROM messages LIMIT 1 FOR UPDATE"))
        waits = await ground.step(HandOver())
        assert isinstance(waits, Wait)
        assert waits.reason == "1 sends are being changed by others"
    assert await ground.step(HandOver()) == Done({"handed_over": 1})
    assert len(await ground.rows("SELECT FROM messages WHERE vps_id = :target", target=target)) == 2
