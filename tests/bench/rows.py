"""Rows by the million for benches: statements of a file by their names, run as the owner, some side by side.

Written without triggers and foreign keys: nothing of this is measured.
"""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg

from control_plane.embedded.postgres import OWNER
from tests.bench.stores import Stores

WRITERS = 2


def statements_of(file: Path) -> dict[str, str]:
    """Return what follows each `-- name: …`."""
    return dict(re.findall(r"-- name: (\w+)\n(.*?)(?=\n-- name:|\Z)", file.read_text(), re.DOTALL))


def run(stores: Stores, statements: str, values: Mapping[str, object]) -> None:
    """Run statements, all with the same values."""
    with psycopg.connect(stores.cluster.url(OWNER), autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statements.encode(), values or None)


def side_by_side(tasks: Sequence[partial[None]]) -> None:
    """Run tasks, as many at a time as there are writers."""
    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()
