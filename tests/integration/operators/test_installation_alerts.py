"""What is wrong with the installation's backups: alerts of no server, listed, told, silenced and over as others."""

import datetime as dt
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from sqlalchemy import text

from control_plane.alerts import installation
from control_plane.alerts.channels.channels import NewChannel, add_channel
from control_plane.alerts.notices import write_notices
from control_plane.alerts.wording import text_of, title_of
from control_plane.backups.results import Kind, keep_result
from control_plane.backups.segments import SLOT
from control_plane.clock import utc_now
from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.monitoring.alert_rules import read_rules
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.integration.mail_rows import SomeInbox

NOW = utc_now()
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
async def channels(system_database: Database, rest_settings: Settings) -> None:
    """One that is told at once, and one that is told of what nobody acknowledges."""
    sealer = Sealer.of_file(rest_settings.sealing_key_file)
    async with system_database.system() as session:
        for name, minutes in (("pager", 0), ("manager", 15)):
            new = NewChannel(name, "webhook", f"https://{name}.example/", after_minutes=minutes)
            await add_channel(session, sealer, new)


async def came(database: Database, kind: Kind, *, ok: bool) -> None:
    async with database.system() as session:
        await keep_result(session, kind, utc_now(), ok=ok, sentence="a table lost a row")


async def looked(database: Database, now: dt.datetime) -> list[str]:
    """Look at it, and return the titles of all that was told, in its order."""
    told = text("SELECT kind, body FROM alert_notices ORDER BY position")
    async with database.system() as session:
        await installation.look(session, read_rules(), now)
    async with database.system() as session:
        await write_notices(["unreachable"], session, now)
        notices = (await session.execute(told)).all()
    assert all("None" not in text_of(notice.kind, notice.body) for notice in notices)
    return [title_of(notice.kind, notice.body) for notice in notices]


@pytest.mark.usefixtures("channels")
async def test_a_restore_test_that_failed_is_one_alert_until_one_is_good(
    operator: httpx.AsyncClient, system_database: Database
) -> None:
    await came(system_database, Kind.COPY, ok=True)
    await came(system_database, Kind.RESTORE_TEST, ok=False)
    opened = "[critical] the installation: restore_test"
    for _ in range(2):
        assert await looked(system_database, NOW) == [opened]
    escalated = "[critical, nobody looks] the installation: restore_test"
    assert await looked(system_database, NOW + 15 * MINUTE) == [opened, escalated]

    [alert] = (await operator.get("alerts")).json()["items"]
    assert (alert["tenant_id"], alert["vps_id"], alert["rule"]) == (None, None, "restore_test")
    assert alert["sentence"] == "The newest restore test failed: a table lost a row."
    seen = await operator.post(f"alerts/{alert['id']}:acknowledge")
    assert seen.json()["acknowledged_by"] == "on call"

    await came(system_database, Kind.RESTORE_TEST, ok=True)
    over = "[over] the installation: restore_test"
    for minutes in (20, 25):
        assert await looked(system_database, NOW + minutes * MINUTE) == [opened, escalated, over, over]
    assert (await operator.get("alerts")).json()["items"] == []


@pytest.mark.usefixtures("channels")
async def test_it_is_silenced_by_its_rule_and_by_no_tenants_or_servers_silence(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await came(system_database, Kind.COPY, ok=False)
    until = {"until": (NOW + dt.timedelta(hours=1)).isoformat(), "reason": "known"}
    silenced = await operator.post("alerts/silences", json={"rule": "database_backup", **until})
    assert await looked(system_database, NOW) == []
    await operator.delete(f"alerts/silences/{silenced.json()['id']}")
    for what in ({"vps_id": str(inbox.vps_id)}, {"tenant_id": str(inbox.tenant.id)}):
        assert (await operator.post("alerts/silences", json={**what, **until})).status_code == 201
    assert await looked(system_database, NOW) == ["[critical] the installation: database_backup"]


@pytest.mark.usefixtures("channels")
async def test_where_all_is_well_or_the_first_test_is_to_come_nothing_is_told(system_database: Database) -> None:
    assert await looked(system_database, NOW) == []
    for kind in Kind:
        await came(system_database, kind, ok=True)
        assert await looked(system_database, NOW) == []


@pytest.mark.usefixtures("channels")
async def test_copies_every_few_hours_do_not_excuse_that_there_was_never_a_test(system_database: Database) -> None:
    begun = text(
        "INSERT INTO backup_results (kind, began_at, ended_at, ok, sentence) VALUES ('copy', :at, :at, true, '')"
    )
    async with system_database.system() as session:
        await session.execute(begun, [{"at": NOW - dt.timedelta(hours=hours)} for hours in (5, 2)])
    assert await looked(system_database, NOW) == []
    assert await looked(system_database, NOW + dt.timedelta(hours=2)) == ["[critical] the installation: restore_test"]


@pytest.fixture
def slot(cluster: EmbeddedPostgres) -> Iterator[None]:
    """The log is kept for somebody who does not come."""
    with psycopg.connect(cluster.url(OWNER, "postgres"), autocommit=True) as owner:
        owner.execute("SELECT pg_create_physical_replication_slot(%s, true)", [SLOT])
        yield
        owner.execute("SELECT pg_drop_replication_slot(%s)", [SLOT])


@pytest.mark.usefixtures("channels", "slot")
async def test_a_log_that_nobody_receives_for_ten_minutes_is_told(system_database: Database) -> None:
    for minutes in (0, 5):
        assert await looked(system_database, NOW + minutes * MINUTE) == []
    assert await looked(system_database, NOW + 10 * MINUTE) == ["[critical] the installation: database_log"]
