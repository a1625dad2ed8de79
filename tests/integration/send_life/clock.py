"""A clock that PostgreSQL, the queuer and the servers of the model share, and that only a rule moves.

PostgreSQL finds `now()` in a schema of the model's before its own, so the product's statements run as they are while a
lease, a tolerance and a day pass without a wait.
"""

from datetime import UTC, datetime, timedelta

import psycopg
from sqlalchemy import text

from control_plane.embedded.postgres import OWNER
from db.session import Database
from tests.integration.database import FreshDatabase

#: Late enough in the day for an example to pass midnight.
START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)

_INSTALL = """
CREATE SCHEMA model_clock;
CREATE TABLE model_clock.moment (at TIMESTAMPTZ NOT NULL);
INSERT INTO model_clock.moment VALUES ('-infinity');
CREATE FUNCTION model_clock.now() RETURNS TIMESTAMPTZ LANGUAGE sql STABLE AS 'SELECT at FROM model_clock.moment';
GRANT USAGE ON SCHEMA model_clock TO PUBLIC;
GRANT SELECT, UPDATE ON model_clock.moment TO PUBLIC;
"""
_SET = text("UPDATE model_clock.moment SET at = :now")


class ModelClock:
    """What time it is where clocks are right."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = START
        #: How far the database's clock is off.
        self._offset = timedelta(0)
        #: The latest that it has ever shown.
        self.latest = START

    @staticmethod
    def install(database: FreshDatabase) -> None:
        """Make every connection that is opened from now on ask the model for the time."""
        with psycopg.connect(database.url(OWNER), autocommit=True) as connection:
            connection.execute(_INSTALL)
            path = f"ALTER DATABASE {database.name} SET search_path = model_clock, pg_catalog, public"
            connection.execute(path.encode())

    @property
    def database_now(self) -> datetime:
        """Return the time by the database's clock."""
        return self.now + self._offset

    async def set(self, now: datetime) -> None:
        """Make it this moment."""
        self.now = now
        self.latest = max(self.latest, self.database_now)
        async with self._database.system() as session:
            await session.execute(_SET, {"now": self.database_now})

    async def set_database_off(self, by: timedelta) -> None:
        """Have the database's clock wrong by so much from now on."""
        self._offset = by
        await self.set(self.now)

    async def advance(self, by: timedelta) -> None:
        """Let time pass."""
        await self.set(self.now + by)

    def seconds(self) -> float:
        """Return the moment as time.monotonic would."""
        return self.now.timestamp()
