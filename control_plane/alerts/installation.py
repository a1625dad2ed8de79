"""What is wrong with the installation itself, as alerts like those about servers: of no server and of no tenant.

Looked at are the database's backups, whether they can be restored, and whether its log is received: by the worker, for
that what makes them is away may be what is wrong.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from procrastinate import App
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.backups.receiver import LogReceived, log_received, wrong_with_log
from control_plane.backups.results import BACKUPS_QUEUE, Kind, Newest, is_awaited, newest_results, wrong_with
from control_plane.clock import Clock
from control_plane.monitoring.alert_rules import Rule
from control_plane.monitoring.alerts import advance_installation
from control_plane.monitoring.states import Finding, InstallationCheck, State
from db.session import Database

_CHECKS = {Kind.COPY: InstallationCheck.DATABASE_BACKUP, Kind.RESTORE_TEST: InstallationCheck.RESTORE_TEST}


def findings(newest: Mapping[Kind, Newest], received: LogReceived | None, now: dt.datetime) -> list[Finding]:
    """Return what is found of each; of what was never made, and may still come, nobody can tell. Pure."""
    of_results = [
        Finding(check, State.UNKNOWN, "The first is to come.")
        if is_awaited(kind, newest, now)
        else _finding(check, wrong_with(kind, newest, now))
        for kind, check in _CHECKS.items()
    ]
    return [*of_results, _finding(InstallationCheck.DATABASE_LOG, wrong_with_log(received))]


async def look(session: AsyncSession, rules: Sequence[Rule], now: dt.datetime) -> None:
    """Advance the installation's alerts by the rules; system role."""
    found = findings(await newest_results(session), await log_received(session), now)
    await advance_installation(session, rules, found, now)


def add_installation_job(app: App, database: Database, rules: Sequence[Rule], clock: Clock) -> None:
    """Add `backups.look`, every five minutes, in a queue of its own, so that nothing else holds it up."""

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="backups.look", queue=BACKUPS_QUEUE, queueing_lock="backups.look")
    async def backups_looked_at(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with database.system() as session:
            await look(session, rules, clock())


def _finding(check: InstallationCheck, wrong: str) -> Finding:
    if not wrong:
        return Finding(check, State.OK, "All is well.")
    return Finding(check, State.FAIL, f"{wrong[0].upper()}{wrong[1:].rstrip('.')}.")
