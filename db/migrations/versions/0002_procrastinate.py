"""The job queue's own tables, as procrastinate packages them, for the system role alone."""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0002"
down_revision = "0001"

_GRANTS = """
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND starts_with(relname, 'procrastinate_')
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO penguin_system', relation);
    END LOOP;
    FOR relation IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' AND starts_with(relname, 'procrastinate_')
    LOOP
        EXECUTE format('GRANT USAGE, SELECT ON %s TO penguin_system', relation);
    END LOOP;
END
$$;
"""


def upgrade() -> None:
    """Run the packaged schema, then open it to the workers' role."""
    connection = op.get_bind().execution_options(no_parameters=True)
    connection.exec_driver_sql(SchemaManager.get_schema())
    connection.exec_driver_sql(_GRANTS)
