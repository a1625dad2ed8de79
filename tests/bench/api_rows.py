"""A platform's rows by the million, for the api's bench (api_rows.sql).

Written by the owner without triggers and foreign keys, and the further indexes of messages made afterwards: nothing of
this is measured. Payloads past their retention are empty, all but the last twentieth.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from control_plane.embedded.postgres import OWNER
from tests.bench.rows import WRITERS, run, side_by_side, statements_of
from tests.bench.stores import Stores
from tests.bench.text import message

TENANTS = 1000
_PAYLOAD_SIZE = 1000
_STATEMENTS = statements_of(Path(__file__).with_suffix(".sql"))
_FURTHER = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = 'messages'::regclass AND NOT indisprimary
"""


def make_rows(stores: Stores, count: int) -> None:
    """Fill a migrated database with so many sends and all that is around them."""
    stores.execute("ALTER SYSTEM SET max_wal_size = '2GB'", "SELECT pg_reload_conf()")
    run(stores, _STATEMENTS["tenants"], {"tenants": TENANTS})
    with _without_further_indexes(stores):
        part = -(-count // WRITERS)
        parts = [(first, min(first + part - 1, count)) for first in range(1, count + 1, part)]
        values = {"tenants": TENANTS, "count": count, "payload": message(_PAYLOAD_SIZE)}
        fill = [
            partial(run, stores, _STATEMENTS["messages"], values | {"first": first, "last": last})
            for first, last in parts
        ]
        side_by_side(fill)
    run(stores, _STATEMENTS["events"], {})
    # Of all tables, or the server begins with it by itself, a minute later and beside what is measured.
    stores.execute("VACUUM (ANALYZE)", "CHECKPOINT")


@contextmanager
def _without_further_indexes(stores: Stores) -> Iterator[None]:
    with psycopg.connect(stores.cluster.url(OWNER), autocommit=True) as connection:
        further = connection.execute(_FURTHER).fetchall()
    stores.execute(*(f"DROP INDEX {name}" for name, _ in further))
    yield
    # As it is shown, an index of a table with partitions would be of the table alone.
    everywhere = [made.replace(" ON ONLY ", " ON ", 1) for _, made in further]
    side_by_side([partial(stores.execute, "SET maintenance_work_mem = '512MB'", made) for made in everywhere])
