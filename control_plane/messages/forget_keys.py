"""Forget idempotency keys, and the answers that are kept under them, once they have been kept for a day."""

from datetime import timedelta

from sqlalchemy import text

from db.pages import in_pages
from db.session import Database

#: What a client may rely on: a request repeated within it finds the first one's answer.
KEPT = timedelta(hours=24)
#: Keys forgotten in one transaction, and transactions of one run: a backlog is worked off over several runs.
PAGE = 1000
MOST_PAGES = 100

# Nobody who uses an old key at this moment is waited for. Place holders go into it, and names of ours.
_FORGET = """
DELETE FROM {table} k
USING (SELECT tenant_id, within, key FROM {table}
       WHERE created_at < now() - CAST(:kept AS interval)
       ORDER BY created_at
       LIMIT :page
       FOR UPDATE SKIP LOCKED) AS old
WHERE k.tenant_id = old.tenant_id AND k.within = old.within AND k.key = old.key
"""
_STATEMENTS = tuple(text(_FORGET.format(table=table)) for table in ("idempotency_keys", "kept_answers"))


async def forget_old_keys(database: Database) -> int:
    """Forget the oldest keys of all tenants that are due, so many at a time; return how many there were."""
    return sum([await in_pages(database, statement, {"kept": KEPT}, PAGE, MOST_PAGES) for statement in _STATEMENTS])
