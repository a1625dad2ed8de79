"""Silences: of what nobody is told for a while, why, and who says so."""

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput, NotFound
from db.by_time import Place, oldest_first
from db.models import AlertSilence

LONGEST = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Silenced:
    """What a silence is about: all of it must match, and something must be named."""

    tenant_id: uuid.UUID | None = None
    vps_id: uuid.UUID | None = None
    rule: str | None = None


async def silence(
    session: AsyncSession,
    what: Silenced,
    until: dt.datetime,
    *,
    rules: Collection[str],
    reason: str,
    by: str,
    now: dt.datetime,
) -> AlertSilence:
    """Tell nobody of it until then; `rules` are those that there are. Raises `InvalidInput` and `NotFound`."""
    if what == Silenced():
        raise InvalidInput("name a tenant, a server or a rule: nobody silences everything", "")
    if what.rule is not None and what.rule not in rules:
        raise InvalidInput("there is no such rule", "/rule")
    if not now < until <= now + LONGEST:
        raise InvalidInput(f"a silence ends within {LONGEST.days} days", "/until")
    row = AlertSilence(
        of_tenant_id=what.tenant_id,
        of_vps_id=what.vps_id,
        rule=what.rule,
        reason=reason,
        created_by=by,
        created_at=now,
        until=until,
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        raise NotFound("there is no such tenant or server") from None
    return row


async def list_silences(
    session: AsyncSession, now: dt.datetime, after: Place | None = None, limit: int | None = None
) -> Sequence[AlertSilence]:
    """Return a page of those in force, the first to end first; without a limit, all."""
    query = select(AlertSilence).where(AlertSilence.until > now)
    return (await session.scalars(oldest_first(query, AlertSilence.until, AlertSilence.id, after).limit(limit))).all()


async def end_silence(session: AsyncSession, silence_id: uuid.UUID) -> None:
    """Take a silence back; raise `NotFound`."""
    ended = await session.scalar(delete(AlertSilence).where(AlertSilence.id == silence_id).returning(AlertSilence.id))
    if ended is None:
        raise NotFound("there is no such silence")
