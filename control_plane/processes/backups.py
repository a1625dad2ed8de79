"""The backups process: `python -m control_plane.processes.backups`.

Receives PostgreSQL's log as it is written and saves it every minute; saves a whole copy every day; restores the newest
one every week, beside everything, and compares it with what it recorded. It connects to PostgreSQL as its owner or, in
one of yours, as a role for this alone, for whoever copies a database sees all of it; and to the repository
(PENGUIN_BACKUP_REPOSITORY, any target of restic's, with what restic needs to reach it in the environment). It listens
at its metrics door alone, and one of these runs in an installation.

SIGTERM ends it: what was half saved is saved again by the next one. When it is away PostgreSQL keeps the log for it, up
to a limit (embedded/postgres.py). Beyond that the log begins again, and with it a whole copy, for no recovery crosses
the gap. What came of its work is looked at by the worker, which tells operators.
"""

import asyncio
import datetime as dt
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from control_plane.backups.programs import BackupFailed
from control_plane.backups.results import Kind, Newest, keep_result, newest_results
from control_plane.backups.schedule import Outcome, due, outcome_of, saved, tested
from control_plane.backups.segments import goes_on, make_slot, receive
from control_plane.backups.vault import Vault
from control_plane.clock import utc_now
from control_plane.errors import Conflict
from control_plane.processes.readiness import say_ready
from control_plane.settings import Settings
from control_plane.telemetry.exposition import metrics_door
from control_plane.telemetry.instruments import BACKUP_GOOD, BACKUP_OK
from db.notifications import DATABASE_AWAY
from db.session import Database
from log_lines.lines import start_logging

_SHIP_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Backups:
    """One process's work; one thing at a time."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.owner_database_url.get_secret_value()
        self._vault = Vault(settings.state_dir, settings.backup_repository)
        self._receiver: subprocess.Popen[bytes] | None = None

    def run(self, stopping: threading.Event) -> None:
        """Work until told to stop."""
        self._vault.make()
        with self._receiving():
            say_ready()
            while not stopping.wait(_SHIP_SECONDS):
                self.look()

    def look(self) -> None:
        """Do what is due."""
        try:
            self._keep_receiving()
            self._do_what_is_due()
            self._vault.ship_log()
        except (BackupFailed, Conflict, *DATABASE_AWAY) as error:
            _log.warning("%s", error)

    def _do_what_is_due(self) -> None:
        newest = asyncio.run(self._newest())
        show(newest)
        began = utc_now()
        kind = due(self._counted(newest), began)
        if kind is None:
            return
        outcome = outcome_of(lambda: saved(self._vault, self._url) if kind is Kind.COPY else tested(self._vault))
        _log.log(logging.INFO if outcome.ok else logging.ERROR, "%s: %s", kind, outcome.sentence)
        asyncio.run(self._keep(kind, began, outcome))

    def _counted(self, newest: dict[Kind, Newest]) -> dict[Kind, Newest]:
        """Return what there is without a good copy from before the log began again: another is due at once."""
        if not self._vault.copy_wanted.exists():
            return newest
        return {kind: result for kind, result in newest.items() if kind is not Kind.COPY or not result.ok}

    async def _newest(self) -> dict[Kind, Newest]:
        database = Database(self._url, pool_size=1)
        try:
            async with database.system() as session:
                return await newest_results(session)
        finally:
            await database.close()

    async def _keep(self, kind: Kind, began: dt.datetime, outcome: Outcome) -> None:
        database = Database(self._url, pool_size=1)
        try:
            async with database.system() as session:
                await keep_result(session, kind, began, ok=outcome.ok, sentence=outcome.sentence)
        finally:
            await database.close()

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        # A log that must begin again does so when it is first looked at: that needs the repository, and no start does.
        if goes_on(self._url, self._vault.segments):
            self._receive()
        try:
            yield
        finally:
            self._stop_receiving()

    def _keep_receiving(self) -> None:
        """Have the log received: on from what was received, or, where that is not kept any more, anew."""
        if not goes_on(self._url, self._vault.segments):
            _log.warning("the database dropped log that was not received: the log begins again, with a whole copy")
            self._stop_receiving()
            self._vault.begin_log_again(self._url)
        self._receive()

    def _stop_receiving(self) -> None:
        if self._receiver is not None:
            self._receiver.terminate()
            self._receiver.wait()

    def _receive(self) -> None:
        if self._receiver is None or self._receiver.poll() is not None:
            make_slot(self._url, self._vault.segments)
            self._receiver = receive(self._url, self._vault.segments, self._vault.log)


def show(newest: Mapping[Kind, Newest]) -> None:
    """Have the metrics tell what came of the newest copy and of the newest restore test."""
    for kind, result in newest.items():
        BACKUP_OK.labels(kind.value).set(result.ok)
        if result.good_at is not None:
            BACKUP_GOOD.labels(kind.value).set(result.good_at.timestamp())


async def serve(settings: Settings) -> None:
    """Work in a thread, and tell of it, until a signal ends it. Raises `BackupFailed`."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with metrics_door(settings.metrics_listen):
        await asyncio.to_thread(Backups(settings).run, stopping)


def main() -> None:
    """Run the process."""
    settings = Settings.model_validate({})
    start_logging(settings.log)
    try:
        asyncio.run(serve(settings))
    except BackupFailed as error:
        sys.exit(error.detail)


if __name__ == "__main__":
    main()
