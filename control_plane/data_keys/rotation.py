"""Change all keys, in the background, while everything that is sealed can be read.

The operator puts a new master key into the file and asks here (cli/keys.py). The worker then wraps all data keys anew,
gives every tenant and the platform a new one, and seals each value by it, some at a time. Whatever is left undone is
found by looking at the values, so it may be interrupted anywhere and run twice. Keys that were replaced still open for
an hour, and go only once no value names them.
"""

import datetime as dt
import logging
import uuid
from dataclasses import dataclass

from procrastinate import App
from sqlalchemy import delete, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.columns import COLUMNS
from control_plane.data_keys.keys import new_row, wrapped_place
from control_plane.data_keys.stale import count_stale, named_keys, reseal_page
from control_plane.pipelines.jobs import UPKEEP_QUEUE
from control_plane.sealing import MASTER, PLATFORMS, TENANTS, Sealer
from db.models import KeyRotation, PlatformDataKey, TenantDataKey
from db.session import Database

#: How long a key that seals nothing more is kept at least: far longer than any transaction.
GRACE = dt.timedelta(hours=1)

_PAGE = 200
_FIRST = uuid.UUID(int=0)
_REPLACE_TENANTS = text("INSERT INTO tenant_data_keys (id, tenant_id, wrapped_key) VALUES (:id, :tenant, :wrapped)")
_REPLACE_PLATFORMS = text("INSERT INTO platform_data_keys (id, wrapped_key) VALUES (:id, :wrapped)")

_log = logging.getLogger(__name__)

_Keys = type[TenantDataKey] | type[PlatformDataKey]
_TABLES: tuple[tuple[bytes, _Keys], ...] = ((TENANTS, TenantDataKey), (PLATFORMS, PlatformDataKey))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the last change of keys has come; `left` counts values that a key not in force seals, by column."""

    asked_at: dt.datetime | None
    finished_at: dt.datetime | None
    rewrapped: int
    resealed: int
    broken: int
    left: dict[str, int]
    #: Data keys that seal, and those that only open.
    in_force: int
    retired: int


async def request_rotation(session: AsyncSession, master: Sealer) -> uuid.UUID:
    """Ask the worker to change all keys; the newest master key wraps them."""
    rotation = KeyRotation(master_header=master.headers[-1])
    session.add(rotation)
    await session.flush()
    return rotation.id


async def advance_rotation(database: Database, master: Sealer) -> None:
    """Do what is left of a change that was asked for, and forget keys that nothing names."""
    async with database.system() as session:
        newest = select(KeyRotation).order_by(KeyRotation.asked_at.desc()).limit(1)
        rotation = (await session.scalars(newest)).one_or_none()
    if rotation is not None and rotation.finished_at is None:
        if master.headers[-1] != rotation.master_header:
            master.read_again()
        if master.headers[-1] == rotation.master_header:
            await _rotate(database, master, rotation)
        else:
            _log.warning("the keys are not changed yet: this process has not been given the new master key")
    await forget_unused(database)


async def progress_of(session: AsyncSession) -> Progress:
    """Return how far the last change has come."""
    newest = select(KeyRotation).order_by(KeyRotation.asked_at.desc()).limit(1)
    last = (await session.scalars(newest)).one_or_none()
    left = {f"{each.table}.{each.column}": await count_stale(session, each) for each in COLUMNS}
    in_force = retired = 0
    for _, keys in _TABLES:
        in_force += await session.scalar(select(func.count()).where(keys.retired_at.is_(None))) or 0
        retired += await session.scalar(select(func.count()).where(keys.retired_at.is_not(None))) or 0
    if last is None:
        return Progress(None, None, 0, 0, 0, left, in_force, retired)
    counts = (last.rewrapped, last.resealed, last.broken)
    return Progress(last.asked_at, last.finished_at, *counts, left, in_force, retired)


async def master_headers_in_use(session: AsyncSession) -> set[bytes]:
    """Return what names the master keys that still wrap a data key, or seal a value from before there were any."""
    used: set[bytes] = set()
    for _, keys in _TABLES:
        used |= {bytes(each) for each in await session.scalars(select(func.substring(keys.wrapped_key, 1, 9)))}
    for each in COLUMNS:
        used |= {header[:9] for header in await named_keys(session, each) if header[:1] == MASTER}
    return used


async def forget_unused(database: Database) -> None:
    """Destroy data keys that have not sealed for an hour and that no value names."""
    async with database.system() as session:
        for version, keys in _TABLES:
            old = select(keys.id).where(keys.retired_at < func.now() - GRACE)
            retired = (await session.scalars(old)).all()
            if not retired:
                continue
            named = set[bytes]()
            for each in COLUMNS:
                if each.version == version:
                    named |= await named_keys(session, each)
            unused = [key_id for key_id in retired if version + key_id.bytes not in named]
            await session.execute(delete(keys).where(keys.id.in_(unused)))


def add_key_jobs(app: App, database: Database, master: Sealer) -> None:
    """Add `keys.rotate`, every ten seconds; it looks at one row when nothing is asked for."""

    @app.periodic(cron="* * * * * */10")
    @app.task(name="keys.rotate", queue=UPKEEP_QUEUE, queueing_lock="keys.rotate")
    async def keys_rotated(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await advance_rotation(database, master)


async def _rotate(database: Database, master: Sealer, rotation: KeyRotation) -> None:
    for version, _ in _TABLES:
        while await _rewrap_page(database, master, version, rotation):
            pass
        while await _replace_page(database, master, version, rotation):
            pass
    broken = 0
    for sealed in COLUMNS:
        after: uuid.UUID | None = _FIRST
        while after is not None:
            async with database.system() as session:
                resealed, unopened, after = await reseal_page(session, master, sealed, after)
                await _count(session, rotation, resealed=resealed)
            broken += unopened
    async with database.system() as session:
        left = sum([await count_stale(session, each) for each in COLUMNS])
        if left > broken:
            return
        await session.execute(
            update(KeyRotation)
            .where(KeyRotation.asked_at <= rotation.asked_at, KeyRotation.finished_at.is_(None))
            .values(finished_at=func.now(), broken=broken)
        )


async def _rewrap_page(database: Database, master: Sealer, version: bytes, rotation: KeyRotation) -> int:
    keys = dict(_TABLES)[version]
    async with database.system() as session:
        # It may be newer than the one that was asked for: sealing takes up what the file has got since.
        newest = master.headers[-1]
        other = func.substring(keys.wrapped_key, 1, len(newest)) != literal(newest)
        query = select(keys.id, keys.wrapped_key).where(other).order_by(keys.id).limit(_PAGE).with_for_update()
        rows = (await session.execute(query)).all()
        for row in rows:
            place = wrapped_place(version, row.id)
            wrapped = master.seal(master.open(bytes(row.wrapped_key), place), place)
            await session.execute(update(keys).where(keys.id == row.id).values(wrapped_key=wrapped))
        await _count(session, rotation, rewrapped=len(rows))
    return len(rows)


async def _replace_page(database: Database, master: Sealer, version: bytes, rotation: KeyRotation) -> int:
    keys = dict(_TABLES)[version]
    async with database.system() as session:
        before = select(keys.id).where(keys.retired_at.is_(None), keys.created_at < rotation.asked_at)
        ids = (await session.scalars(before.limit(_PAGE).with_for_update())).all()
        retire = update(keys).where(keys.id.in_(ids)).values(retired_at=func.now())
        if version == TENANTS:
            for (tenant_id,) in (await session.execute(retire.returning(TenantDataKey.tenant_id))).all():
                await session.execute(_REPLACE_TENANTS, {"tenant": tenant_id, **new_row(master, version)})
        elif (await session.execute(retire.returning(PlatformDataKey.id))).all():
            await session.execute(_REPLACE_PLATFORMS, new_row(master, version))
    return len(ids)


async def _count(session: AsyncSession, rotation: KeyRotation, *, resealed: int = 0, rewrapped: int = 0) -> None:
    if resealed or rewrapped:
        await session.execute(
            update(KeyRotation)
            .where(KeyRotation.id == rotation.id)
            .values(resealed=KeyRotation.resealed + resealed, rewrapped=KeyRotation.rewrapped + rewrapped)
        )
