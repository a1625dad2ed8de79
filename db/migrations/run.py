"""Bring a database's schema up to date: `upgrade(owner_url)`.

Runs Alembic from the package's own directory, without an ini file, as the schema's owner. Roles belong to the whole
cluster and may be there already, with the passwords that whoever runs the cluster gave them. An advisory lock makes
two installations that start at once take turns.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, create_engine, text

#: Any number will do, as long as it stays the same.
_LOCK = 7_032_115


def upgrade(owner_url: str) -> None:
    """Apply every migration that is missing; `owner_url` is a libpq URL of a role that may create roles and tables."""
    engine = create_engine(owner_url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        command.upgrade(configuration(connection), "head")


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration for one open connection, in whose transaction the migrations run."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
