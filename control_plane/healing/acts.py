"""What was done about a server without a person, as it is shown."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import HealingActRow

_SHOWN = 50


async def acts_about(session: AsyncSession, vps_id: uuid.UUID) -> Sequence[HealingActRow]:
    """Return the newest acts about a server that the session sees, newest first."""
    query = select(HealingActRow).where(HealingActRow.vps_id == vps_id).order_by(HealingActRow.began_at.desc())
    return (await session.scalars(query.limit(_SHOWN))).all()
