"""The keys that secrets are sealed with: one in force for each tenant, one for what belongs to none.

They lie in the database, wrapped by a master key, and are made when they are first needed. A value names its key, so it
is read before the key is: a key goes only when nothing has named it for an hour (rotation.py).
"""

import os
import uuid
from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.sealing import KEY_BYTES, PLATFORMS, TENANTS, DataKeys, Sealer, data_key, header_of

_TENANTS_CURRENT = text("SELECT id, wrapped_key FROM tenant_data_keys WHERE tenant_id = :tenant AND retired_at IS NULL")
_TENANTS_INSERT = text(
    "INSERT INTO tenant_data_keys (id, tenant_id, wrapped_key) VALUES (:id, :tenant, :wrapped) ON CONFLICT DO NOTHING"
)
_TENANTS_NAMED = text("SELECT id, wrapped_key FROM tenant_data_keys WHERE id = ANY(:ids)")
_PLATFORMS_CURRENT = text("SELECT id, wrapped_key FROM platform_data_keys WHERE retired_at IS NULL")
_PLATFORMS_INSERT = text(
    "INSERT INTO platform_data_keys (id, wrapped_key) VALUES (:id, :wrapped) ON CONFLICT DO NOTHING"
)
_PLATFORMS_NAMED = text("SELECT id, wrapped_key FROM platform_data_keys WHERE id = ANY(:ids)")


async def tenant_keys(session: AsyncSession, master: Sealer, tenant_id: uuid.UUID) -> DataKeys:
    """Return what seals a tenant's secrets, making the tenant's first key."""
    found = (await session.execute(_TENANTS_CURRENT, {"tenant": tenant_id})).one_or_none()
    if found is None:
        await session.execute(_TENANTS_INSERT, {"tenant": tenant_id, **new_row(master, TENANTS)})
        found = (await session.execute(_TENANTS_CURRENT, {"tenant": tenant_id})).one()
    return _sealing(master, TENANTS, found.id, found.wrapped_key)


async def platform_keys(session: AsyncSession, master: Sealer) -> DataKeys:
    """Return what seals the secrets that are no tenant's; not for the API role."""
    found = (await session.execute(_PLATFORMS_CURRENT)).one_or_none()
    if found is None:
        await session.execute(_PLATFORMS_INSERT, new_row(master, PLATFORMS))
        found = (await session.execute(_PLATFORMS_CURRENT)).one()
    return _sealing(master, PLATFORMS, found.id, found.wrapped_key)


async def keys_for(session: AsyncSession, master: Sealer, sealed: Iterable[bytes | None]) -> DataKeys:
    """Return what opens these values. One whose key was destroyed does not open. Raises `SealBroken`."""
    headers = {header_of(bytes(each)) for each in sealed if each is not None}
    keys = {}
    for version, query in ((TENANTS, _TENANTS_NAMED), (PLATFORMS, _PLATFORMS_NAMED)):
        ids = [uuid.UUID(bytes=header[1:]) for header in headers if header[:1] == version and len(header) == 17]
        for row in await session.execute(query, {"ids": ids}) if ids else ():
            key = data_key(version, row.id, master.open(bytes(row.wrapped_key), wrapped_place(version, row.id)))
            keys[key.header] = key
    return DataKeys(master, keys)


async def open_sealed(session: AsyncSession, master: Sealer, sealed: bytes, place: str) -> bytes:
    """Return what was sealed for `place`; raise `SealBroken`."""
    return (await keys_for(session, master, [sealed])).open(sealed, place)


def new_row(master: Sealer, version: bytes) -> dict[str, object]:
    """Return a new key's id and the key, wrapped."""
    key_id = uuid.uuid4()
    return {"id": key_id, "wrapped": master.seal(os.urandom(KEY_BYTES), wrapped_place(version, key_id))}


def wrapped_place(version: bytes, key_id: uuid.UUID) -> str:
    """Name the place that a data key is wrapped for."""
    return f"{'tenant_data_keys' if version == TENANTS else 'platform_data_keys'}.wrapped_key:{key_id}"


def _sealing(master: Sealer, version: bytes, key_id: uuid.UUID, wrapped: bytes) -> DataKeys:
    key = data_key(version, key_id, master.open(bytes(wrapped), wrapped_place(version, key_id)))
    return DataKeys(master, {key.header: key}, key)
