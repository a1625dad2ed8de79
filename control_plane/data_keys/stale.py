"""Find what is sealed by a key that is not in force, and seal it by the one that is."""

import uuid
from collections.abc import Mapping

from sqlalchemy import ColumnElement, column, func, literal, select, table, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import TableClause

from control_plane.data_keys.columns import SealedColumn
from control_plane.data_keys.keys import keys_for, platform_keys, tenant_keys
from control_plane.sealing import TENANTS, DataKeys, SealBroken, Sealer
from db.models import PlatformDataKey, TenantDataKey

#: Values sealed anew in one transaction.
PAGE = 200

_HEADER_BYTES = 17
# Read by a trigger of webhook_endpoints: a secret under another key is no new secret.
_RESEALING = text("SELECT set_config('app.resealing', 'on', true)")


async def count_stale(session: AsyncSession, sealed: SealedColumn) -> int:
    """Return how many values of a column are sealed by a key that is not in force."""
    rows = _table(sealed)
    return await session.scalar(select(func.count()).select_from(rows).where(_is_stale(rows, sealed))) or 0


async def named_keys(session: AsyncSession, sealed: SealedColumn) -> set[bytes]:
    """Return what the values of a column begin with: the headers of data keys that are in use."""
    header = func.substring(_table(sealed).c[sealed.column], 1, _HEADER_BYTES)
    return {bytes(each) for each in await session.scalars(select(header).distinct()) if each is not None}


async def reseal_page(
    session: AsyncSession, master: Sealer, sealed: SealedColumn, after: uuid.UUID
) -> tuple[int, int, uuid.UUID | None]:
    """Seal a page of a column anew, from the row after `after` on, by row id.

    Returns how many it sealed, how many did not open and were left, and where the next page begins: None at the end.
    Rows that somebody else has locked are left to the next round.
    """
    await session.execute(_RESEALING)
    rows = _table(sealed)
    row_id, value = rows.c[sealed.row_id], rows.c[sealed.column]
    columns = [row_id, value] if sealed.version != TENANTS else [row_id, value, rows.c.tenant_id]
    query = select(*columns).where(_is_stale(rows, sealed), row_id > after).order_by(row_id).limit(PAGE)
    found = (await session.execute(query.with_for_update(skip_locked=True))).all()
    opening = await keys_for(session, master, [row[1] for row in found])
    sealing: dict[object, DataKeys] = {}
    broken = 0
    for row in found:
        place = f"{sealed.place}:{row[0]}"
        owner = row[2] if sealed.version == TENANTS else None
        if owner not in sealing:
            sealing[owner] = await (tenant_keys(session, master, owner) if owner else platform_keys(session, master))
        try:
            plain = opening.open(bytes(row[1]), place)
        except SealBroken:
            broken += 1
            continue
        anew: Mapping[str, bytes] = {sealed.column: sealing[owner].seal(plain, place)}
        await session.execute(update(rows).where(row_id == row[0]).values(anew))
    return len(found) - broken, broken, found[-1][0] if len(found) == PAGE else None


def _table(sealed: SealedColumn) -> TableClause:
    return table(sealed.table, column(sealed.row_id), column(sealed.column), column("tenant_id"))


def _is_stale(rows: TableClause, sealed: SealedColumn) -> ColumnElement[bool]:
    keys = TenantDataKey if sealed.version == TENANTS else PlatformDataKey
    header = literal(sealed.version).op("||")(func.uuid_send(keys.id))
    value = rows.c[sealed.column]
    current = select(keys.id).where(keys.retired_at.is_(None), func.substring(value, 1, _HEADER_BYTES) == header)
    if sealed.version == TENANTS:
        current = current.where(TenantDataKey.tenant_id == rows.c.tenant_id)
    return value.is_not(None) & ~current.correlate(rows).exists()
