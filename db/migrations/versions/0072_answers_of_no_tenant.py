"""Answers kept under idempotency keys that are of no tenant (the .sql beside it)."""

from pathlib import Path

from alembic import op

revision = "0072"
down_revision = "0071"


def upgrade() -> None:
    """Run the file as it stands."""
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
