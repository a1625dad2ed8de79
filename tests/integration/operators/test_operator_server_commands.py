"""Commands to servers and what was done about them, at the operators' door."""

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.errors import InvalidInput, NotFound
from control_plane.operators import healing
from control_plane.operators.rule_files import RuleFiles
from control_plane.operators.scopes import OperatorScope
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from tests.integration.mail_rows import SomeInbox
from tests.integration.operators.door import TESTER, make_key, operator_client
from tests.integration.rest import problem


@pytest.fixture
async def linked(system_database: Database, inbox: SomeInbox) -> SomeInbox:
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET link_session = gen_random_uuid(), last_seen_at = now()"))
    return inbox


@pytest.mark.parametrize(
    ("asked", "deed"),
    [
        ({"kind": "restart"}, "restart_mail_server"),
        ({"kind": "reload"}, "reload_mail_server"),
        ({"kind": "flush"}, "flush_queue"),
        ({"kind": "hold", "queue_id": "4dZcXH2bvZz3w9"}, "hold_queued"),
        ({"kind": "release", "queue_id": "4dZcXH2bvZz3w9"}, "release_queued"),
        ({"kind": "delete", "queue_id": "4dZcXH2bvZz3w9"}, "delete_queued"),
        ({"kind": "tail", "lines": 7}, "read_mail_log"),
        ({"kind": "self-test"}, "self_test"),
        ({"kind": "shed-disk"}, "shed_disk"),
    ],
)
async def test_each_kind_becomes_one_command_that_is_recorded(
    operator: httpx.AsyncClient, system_database: Database, linked: SomeInbox, asked: dict[str, object], deed: str
) -> None:
    answer = await operator.post(f"vps/{linked.vps_id}/commands", json={**asked, "reason": "it hangs"})
    assert answer.status_code == 202, answer.text
    async with system_database.system() as session:
        [row] = (await session.execute(text("SELECT id, command, requested_by FROM server_commands"))).all()
        await session.execute(text("UPDATE server_commands SET state = 'done', detail = 'so', output = 'one\ntwo'"))
    assert (str(row.id), row.requested_by) == (answer.json()["command_id"], "operator on call")
    assert Command.FromString(row.command).WhichOneof("deed") == deed
    [act] = (await operator.get("acts")).json()["items"][:1]
    assert (act["act"], act["reason"], act["subject"]["kind"]) == ("vps.command", "it hangs", asked["kind"])
    outcome = (await operator.get(f"vps/{linked.vps_id}/commands/{row.id}")).json()
    assert (outcome["state"], outcome["detail"], outcome["output"]) == ("done", "so", "one\ntwo")


async def test_whoever_may_run_a_server_may_not_delete_from_its_queue(
    operators_app: FastAPI, system_database: Database, linked: SomeInbox
) -> None:
    made = await make_key(system_database, "runs", [OperatorScope.RUN_SERVER])
    async with operator_client(operators_app, made.key) as client:
        refused = await client.post(f"vps/{linked.vps_id}/commands", json={"kind": "delete", "queue_id": "4dZcXH2bvZ"})
        assert "the scope commands:delete;" in problem(refused, 403, "forbidden")["detail"]
        assert (await client.post(f"vps/{linked.vps_id}/commands", json={"kind": "restart"})).status_code == 202
    async with system_database.system() as session:
        kinds = (await session.scalars(text("SELECT kind FROM server_commands"))).all()
        acts = (
            await session.scalars(text("SELECT subject->>'kind' FROM operator_acts WHERE act = 'vps.command'"))
        ).all()
    assert (kinds, acts) == (["restart_mail_server"], ["restart"])


@pytest.mark.parametrize(
    ("scopes", "shown"),
    [
        ([OperatorScope.READ_FLEET], None),
        ([OperatorScope.READ_FLEET, OperatorScope.RUN_SERVER], None),
        ([OperatorScope.READ_FLEET, OperatorScope.LOOK_AT_SERVER], "to=<anna@walrus.example>"),
    ],
)
async def test_a_log_is_read_by_who_may_ask_for_it(
    operators_app: FastAPI,
    operator: httpx.AsyncClient,
    system_database: Database,
    *,
    linked: SomeInbox,
    scopes: list[OperatorScope],
    shown: str | None,
) -> None:
    asked = (await operator.post(f"vps/{linked.vps_id}/commands", json={"kind": "tail"})).json()
    async with system_database.system() as session:
        said = "UPDATE server_commands SET state = 'done', output = 'to=<anna@walrus.example>'"
        await session.execute(text(said))
    made = await make_key(system_database, "reads", scopes)
    async with operator_client(operators_app, made.key) as client:
        outcome = (await client.get(f"vps/{linked.vps_id}/commands/{asked['command_id']}")).json()
    assert (outcome["state"], outcome["output"]) == ("done", shown)


async def test_a_server_without_a_link_is_asked_nothing_and_a_deadline_that_passed_is_said(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    problem(await operator.post(f"vps/{inbox.vps_id}/commands", json={"kind": "flush"}), 409, "conflict")
    async with system_database.system() as session:
        assert await session.scalar(text("SELECT count(*) FROM server_commands")) == 0
        await session.execute(text("UPDATE vps_servers SET link_session = gen_random_uuid(), last_seen_at = now()"))
    asked = (await operator.post(f"vps/{inbox.vps_id}/commands", json={"kind": "flush"})).json()
    async with system_database.system() as session:
        await session.execute(text("UPDATE server_commands SET deadline = now() - interval '1 second'"))
    outcome = (await operator.get(f"vps/{inbox.vps_id}/commands/{asked['command_id']}")).json()
    assert outcome["state"] == "expired"


async def test_a_domains_key_is_rotated_by_a_run_and_only_one_that_sends_from_there(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    async with system_database.system() as session:
        name = await session.scalar(text("SELECT name FROM domains"))
    asked = await operator.post(f"vps/{inbox.vps_id}/commands", json={"kind": "rotate-key", "domain": name})
    assert asked.json()["command_id"] is None
    async with system_database.system() as session:
        kind = await session.scalar(
            text("SELECT kind FROM pipeline_runs WHERE id = :id"), {"id": asked.json()["run_id"]}
        )
    assert kind == "domain.rotate_dkim"
    other = {"kind": "rotate-key", "domain": "walrus.example"}
    problem(await operator.post(f"vps/{inbox.vps_id}/commands", json=other), 404, "not-found")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "reboot"},
        {"kind": "hold"},
        {"kind": "hold", "queue_id": "ALL deferred"},
        {"kind": "flush", "queue_id": "4dZcXH2bvZz3w9"},
        {"kind": "flush", "lines": 5},
        {"kind": "tail", "lines": 1001},
        {"kind": "rotate-key"},
    ],
)
async def test_what_is_not_on_the_list_or_lacks_its_arguments_is_refused(
    operator: httpx.AsyncClient, linked: SomeInbox, wrong: dict[str, object]
) -> None:
    problem(await operator.post(f"vps/{linked.vps_id}/commands", json=wrong), 422, "invalid-input")


async def test_what_was_done_about_a_server_is_shown_and_what_is_forbidden_recorded(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO healing_acts (id, tenant_id, vps_id, rule, act, reason, state, began_at)"
                " SELECT gen_random_uuid(), tenant_id, id, 'listed', 'slow_sending', 'On a list.', 'standing', now()"
                " FROM vps_servers"
            )
        )
        for _ in range(2):
            await healing.forbid(session, TESTER, RuleFiles(), "listed", inbox.vps_id, reason="mine")
        assert [each.rule for each in await healing.forbidden(session)] == ["listed"]
        await healing.allow(session, TESTER, "listed", inbox.vps_id)
        assert await healing.forbidden(session) == []
        with pytest.raises(NotFound):
            await healing.allow(session, TESTER, "listed", inbox.vps_id)
        with pytest.raises(InvalidInput):
            await healing.forbid(session, TESTER, RuleFiles(), "no_such", None, reason="mine")
    [act] = (await operator.get(f"vps/{inbox.vps_id}/healing")).json()["items"]
    assert (act["act"], act["reason"], act["state"]) == ("slow_sending", "On a list.", "standing")
    acts = [each["act"] for each in (await operator.get("acts")).json()["items"]]
    assert acts[:3] == ["healing.allow", "healing.forbid", "healing.forbid"]


async def test_healing_is_forbidden_and_allowed_at_the_door(operator: httpx.AsyncClient, inbox: SomeInbox) -> None:
    what = {"rule": "listed", "vps_id": str(inbox.vps_id), "reason": "mine"}
    problem(await operator.post("fleet/healing:allow", json=what), 404, "not-found")
    for door in ("fleet/healing:forbid", "fleet/healing:allow"):
        assert (await operator.post(door, json=what)).status_code == 204
    problem(await operator.post("fleet/healing:forbid", json={"rule": "no_such"}), 422, "invalid-input")
    refused = await operator.post("fleet/healing:forbid", json={"rule": "server_gone"})
    assert "leases end" in problem(refused, 422, "invalid-input")["detail"]
