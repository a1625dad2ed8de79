"""Which records a certificate authority looks for in servers' names (0056_acme_challenges.sql)."""

from pathlib import Path

from alembic import op

revision = "0056"
down_revision = "0055"


def upgrade() -> None:
    """Run the file as it stands."""
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statements)
