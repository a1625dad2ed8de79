"""The operators' lists come in pages, each from where the one before ended."""

import datetime as dt

import httpx
import pytest
from sqlalchemy import text

from control_plane.clock import utc_now
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_server
from tests.integration.rest import pointers, problem, walked

#: Three of each; those of one statement are of one moment.
ROWS = {
    "alerts": (
        "INSERT INTO alerts (id, tenant_id, vps_id, rule, severity, state, sentence, since, opened_at)"
        " SELECT gen_random_uuid(), tenant_id, id, 'rule_' || n, 'warning', 'open', 'So.', now(), now()"
        " FROM vps_servers, generate_series(1, 3) n"
    ),
    "vps/{vps}/healing": (
        "INSERT INTO healing_acts (id, tenant_id, vps_id, rule, act, reason, state, began_at)"
        " SELECT gen_random_uuid(), tenant_id, id, 'listed', 'slow_sending', 'On a list.', 'done', now()"
        " FROM vps_servers, generate_series(1, 3)"
    ),
    "releases": (
        "INSERT INTO releases (name, version, manifest, manifest_sha256, signature, certificate)"
        " SELECT 'v' || n, n, '', repeat('0', 64), decode(repeat('00', 64), 'hex'), '' FROM generate_series(1, 3) n"
    ),
    "fleet/upgrades": (
        "INSERT INTO upgrades (packages, rings, minimum_sends, soak_seconds, patience_seconds, requested_by)"
        " SELECT '{}', 1, 0, 0, 1, 'tester' FROM generate_series(1, 3)"
    ),
    "orphans": (
        "INSERT INTO stray_servers (provider, name, kind, reason)"
        " SELECT 'cloud-' || n % 2, 'pm-' || n, 'orphan', 'removed' FROM generate_series(1, 3) n"
    ),
    "queue/pauses": "INSERT INTO pauses (priority, by_operator) SELECT n, true FROM generate_series(0, 2) n",
    "alerts/silences": (
        "INSERT INTO alert_silences (rule, reason, created_by, created_at, until)"
        " SELECT 'disk', 'known', 'tester', now(), now() + interval '1 hour' FROM generate_series(1, 3)"
    ),
    "alerts/channels": (
        "INSERT INTO alert_channels (name, kind, target_sealed, least_severity, after_minutes)"
        " SELECT 'pager-' || n, 'webhook', '', 'warning', 0 FROM generate_series(1, 3) n"
    ),
}


@pytest.mark.parametrize("path", ROWS)
async def test_a_list_is_whole_when_it_is_asked_for_one_thing_at_a_time(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, path: str
) -> None:
    async with system_database.system() as session:
        await session.execute(text(ROWS[path]))
    path = path.format(vps=inbox.vps_id)
    whole = (await operator.get(path)).json()
    assert (len(whole["items"]), whole["next"]) == (3, None)
    assert await walked(operator, path) == whole["items"]
    problem_of = await operator.get(path, params={"after": "x" * 40})
    assert pointers(problem(problem_of, 400, "invalid-cursor")) == ["query/after"]


async def test_the_fleet_is_whole_when_it_is_asked_for_one_server_at_a_time(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    others = [await make_server(system_database, other_tenant) for _ in range(2)]
    found = await walked(operator, "fleet")
    assert [each["vps_id"] for each in found] == sorted(map(str, [inbox.vps_id, *others]))


async def test_a_list_goes_on_from_where_it_was_when_what_was_there_is_gone(
    operator: httpx.AsyncClient, inbox: SomeInbox
) -> None:
    for hours in (1, 2):
        until = (utc_now() + dt.timedelta(hours=hours)).isoformat()
        body = {"vps_id": str(inbox.vps_id), "until": until, "reason": "moved"}
        assert (await operator.post("alerts/silences", json=body)).status_code == 201
    first = (await operator.get("alerts/silences", params={"limit": 1})).json()
    assert (await operator.delete(f"alerts/silences/{first['items'][0]['id']}")).status_code == 204
    rest = (await operator.get("alerts/silences", params={"after": first["next"]})).json()
    assert [each["until"] > first["items"][0]["until"] for each in rest["items"]] == [True]
