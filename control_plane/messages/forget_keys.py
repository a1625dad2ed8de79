"""Forget idempotency keys, and the answers to batches that they hold, once they have been kept for a day."""

from datetime import timedelta

from sqlalchemy import text

from db.session import Database

#: What a client may rely on: a request repeated within it finds the first one's answer.
KEPT = timedelta(hours=24)
#: Keys forgotten in one transaction, and transactions of one run: a backlog is worked off over several runs.
PAGE = 1000
MOST_PAGES = 100

# Nobody who uses an old key at this moment is waited for.
_FORGET = text("""
DELETE FROM idempotency_keys k
USING (SELECT tenant_id, key FROM idempotency_keys
       WHERE created_at < now() - CAST(:kept AS interval)
       ORDER BY created_at
       LIMIT :page
       FOR UPDATE SKIP LOCKED) AS old
WHERE k.tenant_id = old.tenant_id AND k.key = old.key
""")


async def forget_old_keys(database: Database) -> int:
    """Forget the oldest keys of all tenants that are due, so many at a time; return how many there were."""
    forgotten = 0
    for _ in range(MOST_PAGES):
        async with database.system() as session:
            result = await session.execute(_FORGET, {"kept": KEPT, "page": PAGE})
        count: int = result.rowcount  # type: ignore[attr-defined]
        forgotten += count
        if count < PAGE:
            break
    return forgotten
