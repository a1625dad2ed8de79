"""Forget idempotency keys, and the answers that are kept under them, once they have been kept for a day."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import TextClause, text

from db.pages import in_pages
from db.session import Database

#: What a client may rely on: a request repeated within it finds the first one's answer.
KEPT = timedelta(hours=24)
#: Keys forgotten in one transaction, and transactions of one run: a backlog is worked off over several runs.
PAGE = 1000
MOST_PAGES = 100

#: Each table with what its rows are found by.
_TABLES: Mapping[str, Sequence[str]] = {
    "idempotency_keys": ("tenant_id", "within", "key"),
    "kept_answers": ("tenant_id", "within", "key"),
    "kept_answers_to_people": ("place",),
    "kept_answers_to_operators": ("key_id", "key"),
}
# Nobody who uses an old key at this moment is waited for. Place holders go into it, and names of ours.
_FORGET = """
DELETE FROM {table} k
USING (SELECT {columns} FROM {table}
       WHERE created_at < now() - CAST(:kept AS interval)
       ORDER BY created_at
       LIMIT :page
       FOR UPDATE SKIP LOCKED) AS old
WHERE {same}
"""


def _forgetting(table: str, columns: Sequence[str]) -> TextClause:
    same = " AND ".join(f"k.{column} = old.{column}" for column in columns)
    return text(_FORGET.format(table=table, columns=", ".join(columns), same=same))


_STATEMENTS = tuple(_forgetting(*each) for each in _TABLES.items())


async def forget_old_keys(database: Database) -> int:
    """Forget the oldest keys of everybody that are due, so many at a time; return how many there were."""
    return sum([await in_pages(database, statement, {"kept": KEPT}, PAGE, MOST_PAGES) for statement in _STATEMENTS])
