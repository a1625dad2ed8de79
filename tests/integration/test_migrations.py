from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, ForeignKeyConstraint, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from db.migrations import run
from db.models import metadata
from tests.integration.database import fresh_database


def ours(item: object, name: str | None, kind: str, *_: object) -> bool:
    # Partitions are reached through their parents, which have models; a key that refers to one refers to each of them.
    if isinstance(item, ForeignKeyConstraint):
        return not is_partition(item.referred_table.name)
    return kind != "table" or name is None or not (name.startswith("procrastinate_") or is_partition(name))


def is_partition(name: str) -> bool:
    return name.endswith(("_shared", "_isolated")) or "_slot_" in name


@pytest.fixture
def connection(owner_url: str) -> Connection:
    return create_engine(owner_url.replace("postgresql", "postgresql+psycopg", 1), poolclass=NullPool).connect()


def test_models_and_migrated_schema_agree(connection: Connection) -> None:
    context = MigrationContext.configure(
        connection, opts={"include_object": ours, "compare_type": True, "compare_server_default": True}
    )
    assert compare_metadata(context, metadata) == []
    connection.close()


def test_migrating_twice_changes_nothing(owner_url: str, connection: Connection) -> None:
    run.upgrade(owner_url)
    [head] = ScriptDirectory(str(Path(run.__file__).parent)).get_heads()
    assert MigrationContext.configure(connection).get_current_heads() == (head,)
    connection.close()


def test_there_is_one_line_of_migrations_and_each_is_numbered() -> None:
    directory = ScriptDirectory(str(Path(run.__file__).parent))
    revisions = [script.revision for script in reversed(list(directory.walk_revisions()))]
    assert revisions == [f"{number:04d}" for number in range(1, len(revisions) + 1)]


def test_a_cluster_that_has_the_roles_already_takes_another_installation(cluster: EmbeddedPostgres) -> None:
    with fresh_database(cluster, template="template0") as empty:
        run.upgrade(empty.url(OWNER))


def test_an_owner_that_lacks_a_grant_is_told_which(cluster: EmbeddedPostgres) -> None:
    with psycopg.connect(cluster.url(OWNER, "postgres"), autocommit=True) as superuser:
        superuser.execute("CREATE ROLE poor_owner LOGIN CREATEROLE")
        superuser.execute("CREATE DATABASE poor OWNER poor_owner")
        try:
            with pytest.raises(DBAPIError, match=r'GRANT SET ON PARAMETER "app\.workspaces" TO poor_owner'):
                run.upgrade(cluster.url("poor_owner", "poor"))
        finally:
            superuser.execute("DROP DATABASE poor")
            superuser.execute("DROP OWNED BY poor_owner")
            superuser.execute("DROP ROLE poor_owner")
