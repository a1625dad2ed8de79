"""Self-healing on a real database: from what was checked over an act and its alert to its end."""

import datetime as dt
import json
import uuid
from typing import Any

import pytest
from sqlalchemy import CursorResult, text

from control_plane.alerts.notices import write_notices
from control_plane.healing.heal import heal
from control_plane.healing.rules import read_rules
from control_plane.monitoring.alert_rules import read_rules as read_alert_rules
from control_plane.monitoring.alerts import advance_alerts
from control_plane.queuer.allot import Line
from control_plane.queuer.depth import standing_still
from control_plane.queuer.pauses import Held, Subject, pause, pauses_in_force, resume_by_id
from control_plane.queuer.statements import claim
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server

NOW = dt.datetime.now(dt.UTC)
SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)
RULES = read_rules()


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(system_database, tenant)


async def rows(database: Database, statement: str, **values: object) -> list[dict[str, Any]]:
    async with database.system() as session:
        result = await session.execute(text(statement), values)
        return (
            [dict(row) for row in result.mappings()] if isinstance(result, CursorResult) and result.returns_rows else []
        )


async def found(database: Database, check: str, state: str) -> None:
    """Say of all servers what a check found."""
    await rows(
        database,
        "INSERT INTO health_checks (vps_id, tenant_id, kind, state, sentence, at, changed_at)"
        " SELECT id, tenant_id, :kind, :state, 'So it was found.', now(), now() FROM vps_servers"
        " ON CONFLICT (vps_id, kind) DO UPDATE SET state = excluded.state",
        kind=check,
        state=state,
    )


async def measured(database: Database, **metrics: float) -> None:
    await rows(
        database,
        "INSERT INTO server_health (vps_id, tenant_id, checked_at, state, metrics, agent_version_since)"
        " SELECT id, tenant_id, now(), 'ok', CAST(:metrics AS jsonb), now() FROM vps_servers"
        " ON CONFLICT (vps_id) DO UPDATE SET metrics = excluded.metrics",
        metrics=json.dumps(metrics),
    )


async def healed(database: Database, at: dt.datetime) -> list[tuple[str, str]]:
    """Let the job run once, with all servers linked, and return the acts, oldest first."""
    await rows(database, "UPDATE vps_servers SET link_session = gen_random_uuid(), last_seen_at = :at", at=at)
    async with database.system() as session:
        await heal(session, RULES, at)
    acts = await rows(database, "SELECT act, state FROM healing_acts ORDER BY began_at, id")
    return [(act["act"], act["state"]) for act in acts]


async def answered(database: Database, state: str, detail: str) -> None:
    await rows(
        database,
        "UPDATE server_commands SET state = :state, detail = :detail, finished_at = now() WHERE state = 'waiting'",
        state=state,
        detail=detail,
    )


async def alerts(database: Database) -> dict[str, str]:
    open_ones = await rows(database, "SELECT rule, severity FROM alerts WHERE state = 'open'")
    return {row["rule"]: row["severity"] for row in open_ones}


async def test_a_dead_mail_server_is_restarted_told_of_and_after_three_times_only_told_of(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await found(system_database, "mail_server", "fail")
    assert await healed(system_database, NOW) == []
    assert await healed(system_database, NOW + 15 * SECOND) == [("restart_mail_server", "asked")]
    assert await alerts(system_database) == {"healing.mail_server_down": "notice"}
    [command] = await rows(system_database, "SELECT command, requested_by FROM server_commands")
    assert Command.FromString(command["command"]).WhichOneof("deed") == "restart_mail_server"
    assert command["requested_by"] == "healing mail_server_down"

    at = NOW + 15 * SECOND
    for count in (1, 2, 3):
        await answered(system_database, "done", "restarted opendkim, dovecot, postfix")
        await healed(system_database, at := at + 5 * SECOND)
        acts = await healed(system_database, at := at + 20 * SECOND)
        assert len(acts) == min(count + 1, 3)
    assert {state for _, state in acts} == {"done"}
    assert await alerts(system_database) == {
        "healing.mail_server_down": "notice",
        "healing.mail_server_down.spent": "critical",
    }
    assert len(await rows(system_database, "SELECT FROM server_commands")) == 3

    await found(system_database, "mail_server", "ok")
    await healed(system_database, at + 10 * SECOND)
    assert await alerts(system_database)
    await healed(system_database, at + 400 * SECOND)
    assert await alerts(system_database) == {}


async def test_a_restart_that_did_not_reach_its_server_is_said_to_have_failed(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await found(system_database, "mail_server", "fail")
    await healed(system_database, NOW)
    await healed(system_database, NOW + 15 * SECOND)
    await answered(system_database, "expired", "the server was not reached in time; nothing was done")
    await healed(system_database, NOW + 20 * SECOND)
    [act] = await rows(system_database, "SELECT state, detail FROM healing_acts")
    assert act == {"state": "failed", "detail": "expired: the server was not reached in time; nothing was done"}


async def test_a_full_disk_is_shed_and_nothing_is_done_where_that_is_forbidden(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    other = await make_server(system_database, tenant)
    await rows(
        system_database,
        "INSERT INTO healing_forbidden (rule, of_vps_id, reason, created_by) VALUES ('disk_full', :vps, 'mine', 'me')",
        vps=other,
    )
    await found(system_database, "disk", "warn")
    assert await healed(system_database, NOW) == []
    await found(system_database, "disk", "fail")
    assert await healed(system_database, NOW) == [("shed_disk", "asked")]
    [act] = await rows(system_database, "SELECT vps_id, reason FROM healing_acts")
    assert act == {"vps_id": vps_id, "reason": "So it was found."}
    await rows(
        system_database,
        "INSERT INTO healing_forbidden (rule, reason, created_by) VALUES (NULL, 'a migration', 'me')",
    )
    await answered(system_database, "done", "freed 350 octets")
    assert await healed(system_database, NOW + 60 * SECOND) == [("shed_disk", "done")]
    assert (await rows(system_database, "SELECT detail FROM healing_acts")) == [{"detail": "freed 350 octets"}]


async def test_a_listed_server_is_slowed_then_quarantined_and_let_go_when_it_was_well(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await found(system_database, "blocklist", "fail")
    assert await healed(system_database, NOW) == [("slow_sending", "standing")]
    assert await rows(system_database, "SELECT send_divisor FROM vps_servers") == [{"send_divisor": 2}]
    assert await healed(system_database, NOW + HOUR) == [("slow_sending", "standing"), ("quarantine", "standing")]
    async with system_database.system() as session:
        [in_force] = await pauses_in_force(session)
    assert (in_force.held.vps_id, in_force.reason, in_force.by_healing) == (
        vps_id,
        "quarantined: So it was found.",
        True,
    )
    assert await alerts(system_database) == {"healing.listed": "warning", "healing.still_listed": "critical"}

    await found(system_database, "blocklist", "unknown")
    assert (await healed(system_database, NOW + 9 * HOUR))[1] == ("quarantine", "standing")
    await found(system_database, "blocklist", "ok")
    await healed(system_database, NOW + 10 * HOUR)
    acts = await healed(system_database, NOW + 11 * HOUR)
    assert acts == [("slow_sending", "ended"), ("quarantine", "ended")]
    assert await rows(system_database, "SELECT send_divisor FROM vps_servers") == [{"send_divisor": 1}]
    async with system_database.system() as session:
        assert await pauses_in_force(session) == []
    assert await alerts(system_database) == {}


async def leased(database: Database, inbox: SomeInbox) -> int:
    """Return how many sends of an inbox a queuer with room for all leases now."""
    return len(await claim(database, {Line(inbox.vps_id, 1): 100}, 300))


async def test_a_listed_servers_inboxes_are_leased_half_then_nothing_and_all_again_once_it_was_well(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    inbox = await make_inbox(system_database, tenant, vps_id, limit=9)
    elsewhere = await make_inbox(system_database, tenant, await make_server(system_database, tenant), limit=9)
    for each in (inbox, elsewhere):
        await make_sends(system_database, each, 20)
    listed = "INSERT INTO health_checks (vps_id, tenant_id, kind, state, sentence, at, changed_at)"
    listed += " VALUES (:vps, :tenant, 'blocklist', 'fail', 'It is listed.', now(), now())"
    await rows(system_database, listed, vps=vps_id, tenant=tenant.id)

    assert await healed(system_database, NOW) == [("slow_sending", "standing")]
    assert [await leased(system_database, inbox) for _ in range(3)] == [5, 0, 0]
    assert await leased(system_database, elsewhere) == 9

    assert (await healed(system_database, NOW + HOUR))[1] == ("quarantine", "standing")
    # Another day, and a limit of its own.
    await rows(system_database, "DELETE FROM inbox_daily_sends")
    assert await leased(system_database, inbox) == 0
    assert await leased(system_database, elsewhere) == 9

    await found(system_database, "blocklist", "ok")
    await healed(system_database, NOW + 2 * HOUR)
    assert await leased(system_database, inbox) == 0
    await healed(system_database, NOW + 3 * HOUR)
    assert await leased(system_database, inbox) == 9


async def test_a_slowed_server_that_sent_more_than_its_share_before_leases_nothing_more_that_day(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    inbox = await make_inbox(system_database, tenant, vps_id, limit=10)
    await make_sends(system_database, inbox, 7)
    assert await leased(system_database, inbox) == 7
    await make_sends(system_database, inbox, 5)
    await found(system_database, "blocklist", "fail")
    await healed(system_database, NOW)
    assert await leased(system_database, inbox) == 0
    await rows(
        system_database,
        "INSERT INTO healing_forbidden (rule, of_vps_id, reason, created_by) VALUES ('listed', :vps, 'mine', 'me')",
        vps=vps_id,
    )
    assert await healed(system_database, NOW + 5 * SECOND) == [("slow_sending", "ended")]
    assert await leased(system_database, inbox) == 3


async def test_a_quarantine_that_an_operator_takes_back_does_not_come_again_while_its_reason_lasts(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    await found(system_database, "blocklist", "fail")
    await healed(system_database, NOW)
    await healed(system_database, NOW + HOUR)
    async with system_database.system() as session:
        own = await pause(session, Held(Subject.VPS, tenant.id, vps_id), "moves house", by_operator=True)
        assert own.reason == "moves house"
        [of_healing] = [each for each in await pauses_in_force(session) if each.by_healing]
        await resume_by_id(session, of_healing.id, by_operator=True)
    acts = await healed(system_database, NOW + 3 * HOUR)
    assert acts == [("slow_sending", "standing"), ("quarantine", "ended")]
    assert len(await healed(system_database, NOW + 6 * HOUR)) == 2
    async with system_database.system() as session:
        assert [each.reason for each in await pauses_in_force(session)] == ["moves house"]


async def test_a_server_that_is_gone_hands_on_once_and_that_is_written_down(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    inbox = await make_inbox(system_database, tenant, vps_id)
    await make_sends(system_database, inbox, 2)
    await rows(
        system_database,
        "UPDATE messages SET state = 'queued', lease_token = gen_random_uuid(), lease_deadline = now(), leases = 1,"
        " queued_at = now()",
    )
    await found(system_database, "reachable", "fail")
    await healed(system_database, NOW)
    assert await healed(system_database, NOW + 300 * SECOND) == [("hand_on", "done")]
    assert await healed(system_database, NOW + 3 * HOUR) == [("hand_on", "done")]
    [act] = await rows(system_database, "SELECT detail FROM healing_acts")
    assert act["detail"].startswith("2 sends were leased to it")


async def test_the_check_of_the_fleet_leaves_these_alerts_alone_and_channels_are_told_of_them(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await rows(
        system_database,
        "INSERT INTO alert_channels (name, kind, target_sealed, least_severity, after_minutes)"
        " VALUES ('pager', 'webhook', 'x', 'warning', 0)",
    )
    await found(system_database, "blocklist", "fail")
    await healed(system_database, NOW)
    async with system_database.system() as session:
        await advance_alerts(session, read_alert_rules(), [], NOW)
        await write_notices(["unreachable"], session, NOW)
    [notice] = await rows(system_database, "SELECT kind, body FROM alert_notices")
    assert (notice["kind"], notice["body"]["rule"]) == ("opened", "healing.listed")
    assert notice["body"]["sentence"] == "Its inboxes send half of their daily limits. So it was found."


async def test_a_slowed_server_leases_half_of_an_inboxs_daily_limit_and_says_so(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    inbox: SomeInbox = await make_inbox(system_database, tenant, vps_id, limit=4)
    await make_sends(system_database, inbox, 1)
    await rows(
        system_database,
        "INSERT INTO inbox_daily_sends (tenant_id, inbox_id, day, claimed)"
        " VALUES (:tenant, :inbox, (now() AT TIME ZONE 'UTC')::date, 2)",
        tenant=tenant.id,
        inbox=inbox.id,
    )
    await rows(system_database, "UPDATE messages SET send_at = now() - interval '1 hour'")
    await rows(system_database, "UPDATE vps_servers SET send_divisor = 2, last_seen_at = now()")
    async with system_database.system() as session:
        [standing] = await standing_still(session, 30)
    assert standing.why == "the inbox has used its daily limit of 2, which is lowered while the server is slowed"
