"""Operators are told of backups that cannot be relied upon, and when they can be again."""

import datetime as dt

import pytest
from sqlalchemy import text

from control_plane.alerts.channels.channels import NewChannel, add_channel
from control_plane.alerts.wording import title_of
from control_plane.backups.results import Kind, keep_result, tell_what_is_wrong
from control_plane.clock import utc_now
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database

DAY = dt.timedelta(days=1)


@pytest.fixture
async def channels(system_database: Database, rest_settings: Settings) -> None:
    """One that is told at once, and one that is told of what nobody acknowledges: there is nothing to acknowledge."""
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
        await tell_what_is_wrong(session, now)
        return [title_of(row.kind, row.body) for row in await session.execute(told)]


@pytest.mark.usefixtures("channels")
async def test_a_restore_test_that_failed_is_told_once_a_day_and_its_end_once(system_database: Database) -> None:
    now = utc_now()
    await came(system_database, Kind.COPY, ok=True)
    await came(system_database, Kind.RESTORE_TEST, ok=False)
    wrong, over = "[critical] the platform: backup", "[over] the platform: backup"
    assert await looked(system_database, now) == [wrong]
    assert await looked(system_database, now) == [wrong]
    assert await looked(system_database, now + DAY) == [wrong, wrong]
    await came(system_database, Kind.RESTORE_TEST, ok=True)
    for _ in range(2):
        assert await looked(system_database, now + DAY) == [wrong, wrong, over]


@pytest.mark.usefixtures("channels")
async def test_where_all_was_well_nothing_is_told(system_database: Database) -> None:
    for kind in Kind:
        await came(system_database, kind, ok=True)
    assert await looked(system_database, utc_now()) == []
