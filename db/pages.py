"""Change many rows so many at a time, each page in a transaction of its own: nobody waits long for its locks."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import TextClause

from db.session import Database


async def in_pages(
    database: Database, statement: TextClause, values: Mapping[str, Any], page: int, most: int | None = None
) -> int:
    """Run a statement that changes `:page` rows at most until it changes fewer; return how many it changed.

    After `most` times it ends too: a backlog is worked off over several runs. Needs the system role.
    """
    changed = times = 0
    while most is None or times < most:
        async with database.system() as session:
            result = await session.execute(statement, {**values, "page": page})
        count: int = result.rowcount  # type: ignore[attr-defined]
        changed, times = changed + count, times + 1
        if count < page:
            break
    return changed
