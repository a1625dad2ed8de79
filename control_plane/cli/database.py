"""`database`: what whoever owns the database does to it."""

import os

import psycopg
import typer
from sqlalchemy.exc import DBAPIError

from control_plane.cli.output import say
from control_plane.errors import InvalidInput, Unavailable
from db.migrations.run import upgrade as migrate

database_commands = typer.Typer(no_args_is_help=True, help="The owner's work on a database of yours.")


@database_commands.command()
def upgrade() -> None:
    """Bring the schema of PENGUIN_DATABASE_URL, an owner's URL, up to date; processes themselves may not."""
    url = owner_url()
    try:
        migrate(url)
    except (psycopg.Error, DBAPIError) as error:
        raise Unavailable(f"PENGUIN_DATABASE_URL: {str(getattr(error, 'orig', error)).strip()}") from None
    say("the database is up to date")


def owner_url() -> str:
    """Return PENGUIN_DATABASE_URL; raise `InvalidInput` when it is not set."""
    url = os.environ.get("PENGUIN_DATABASE_URL", "")
    if not url.startswith("postgresql://"):
        raise InvalidInput("PENGUIN_DATABASE_URL must be the postgresql:// URL of the database's owner")
    return url
