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
# Trigger functions see the whole tenant by this parameter (0053), which PostgreSQL does not know. An owner who is no
# superuser may set it in functions only when a superuser has said so (GRANT, PostgreSQL 15).
_REQUIRE_PARAMETER = text("""
DO $$
BEGIN
    IF NOT has_parameter_privilege('app.workspaces', 'SET') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format(
            'let a superuser run this once: GRANT SET ON PARAMETER "app.workspaces" TO %I', current_user);
    END IF;
END
$$
""")


def upgrade(owner_url: str) -> None:
    """Apply every migration that is missing; `owner_url` is a libpq URL of a role that may create roles and tables.

    Raises `DBAPIError` with a message that says what a superuser must grant first, where that is so.
    """
    engine = create_engine(owner_url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(_REQUIRE_PARAMETER)
        command.upgrade(configuration(connection), "head")


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration for one open connection, in whose transaction the migrations run."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
