"""What was done about a server without a person, as it is shown."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.by_time import Place, newest_first
from db.models import HealingActRow

#: Of one page, where nothing is said of it.
_SHOWN = 50


async def acts_about(
    session: AsyncSession, vps_id: uuid.UUID, after: Place | None = None, limit: int = _SHOWN
) -> Sequence[HealingActRow]:
    """Return a page of the acts about a server that the session sees, newest first."""
    query = select(HealingActRow).where(HealingActRow.vps_id == vps_id)
    page = newest_first(query, HealingActRow.began_at, HealingActRow.id, after).limit(limit)
    return (await session.scalars(page)).all()
