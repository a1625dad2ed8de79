"""Rows as a table."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_LONG_LINE = 1000


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows of the same fields, their names on top; there is at least one."""
    table = Table(*(name.replace("_", " ") for name in rows[0]), box=None)
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    # Without a terminal, lines are as long as they are.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _LONG_LINE).print(table)
