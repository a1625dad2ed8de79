"""Commands to servers have scopes of their own (0073_scopes_of_commands.sql)."""

from pathlib import Path

from alembic import op

revision = "0073"
down_revision = "0072"


def upgrade() -> None:
    """Run the file as it stands."""
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
