"""Alerts: raised by checks, shown, acknowledged, over."""

import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli import alerts as alerts_command
from control_plane.clock import utc_now
from control_plane.monitoring.alert_rules import read_rules
from control_plane.monitoring.alerts import advance_alerts
from control_plane.monitoring.health_check import check_health
from control_plane.monitoring.probe import Look
from db.session import Database
from tests.integration.mail_rows import SomeInbox

NOW = utc_now()


async def look_dead(_: str) -> Mapping[int, Look]:
    return {25: Look(error="no answer")}


async def look_well(_: str) -> Mapping[int, Look]:
    return {25: Look(not_after=NOW + dt.timedelta(days=60))}


async def check(database: Database, minutes: int, *, dead: bool) -> None:
    now = NOW + dt.timedelta(minutes=minutes)
    async with database.system() as session:
        seen = text("UPDATE vps_servers SET link_session = gen_random_uuid(), last_seen_at = :at")
        await session.execute(seen, {"at": now - dt.timedelta(hours=dead)})
        listening = text(
            "INSERT INTO hubs (id, hearing_since, seen_at) VALUES (:hub, :since, :at)"
            " ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"
        )
        await session.execute(listening, {"hub": uuid.UUID(int=1), "since": NOW - dt.timedelta(hours=2), "at": now})
    checked = await check_health(database, now, 10, look_dead if dead else look_well)
    async with database.system() as session:
        await advance_alerts(session, read_rules(), checked, now)


async def alerts(operator: httpx.AsyncClient, **query: str) -> list[tuple[str, str]]:
    items = (await operator.get("alerts", params=query)).json()["items"]
    return [(each["rule"], each["state"]) for each in items]


async def test_a_dead_server_is_one_alert_until_it_is_well_again(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check(system_database, 0, dead=True)
    assert await alerts(operator) == []
    await check(system_database, 5, dead=True)
    [alert] = (await operator.get("alerts")).json()["items"]
    assert (alert["rule"], alert["state"], alert["severity"]) == ("unreachable", "open", "critical")
    assert alert["vps_id"] == str(inbox.vps_id)

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        async with system_database.system() as transaction:
            yield transaction

    monkeypatch.setattr(alerts_command, "system_session", session)
    await alerts_command._acknowledge("main", alert["id"])
    assert await alerts(operator) == [("unreachable", "acknowledged")]
    act = (await operator.get("acts")).json()["items"][0]
    assert (act["act"], act["subject"]["rule"]) == ("alert.acknowledge", "unreachable")

    await check(system_database, 10, dead=False)
    assert await alerts(operator) == [("unreachable", "acknowledged")]
    await check(system_database, 15, dead=False)
    assert await alerts(operator) == []
    assert await alerts(operator, over="true") == [("unreachable", "resolved")]


async def test_alerts_about_a_server_that_is_not_monitored_any_more_are_over(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    for minutes in (0, 5):
        await check(system_database, minutes, dead=True)
    async with system_database.system() as session:
        await session.execute(
            text("UPDATE vps_servers SET monitoring_enabled = false WHERE id = :id"), {"id": inbox.vps_id}
        )
    await check(system_database, 10, dead=True)
    assert await alerts(operator) == []
    assert json.dumps(await alerts(operator, over="true")) == '[["unreachable", "resolved"]]'
