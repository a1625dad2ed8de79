"""API keys: `pmk_<tenant>_<prefix>_<secret>`, shown once and kept as a SHA-256.

The tenant's id is part of the key (base 32), so that the look-up itself happens under that tenant's row-level
security. Prefix and secret are as `secret_keys.py` makes them.
"""

import base64
import binascii
import datetime as dt
import uuid
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Unauthenticated
from control_plane.identity.secret_keys import KeptKey, base32, new_secret, require_in_force, sha256_of

_MARK = "pmk"


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller sent it: well-formed, and not yet found to be true."""

    tenant_id: uuid.UUID
    prefix: str
    secret_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that is true, in force, and known by its row."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    tenant_state: str


_FIND = """
SELECT k.id, k.secret_sha256, k.expires_at, k.revoked_at, t.state,
    k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS last_use_is_old
FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
WHERE k.tenant_id = %(tenant_id)s AND k.prefix = %(prefix)s
"""

# Requests that use one key at the same time must not wait for each other here.
_NOTE_USE = """
UPDATE api_keys SET last_used_at = now()
WHERE id = (SELECT id FROM api_keys WHERE id = %(id)s FOR NO KEY UPDATE SKIP LOCKED)
"""


def parse_api_key(key: str) -> PresentedKey:
    """Take a key apart; raise `Unauthenticated` when it has not the form of one."""
    parts = key.split("_")
    if len(parts) != 4 or parts[0] != _MARK or not key.isascii():
        raise Unauthenticated("This is not an API key of this service.")
    _, tenant, prefix, secret = parts
    try:
        tenant_id = uuid.UUID(bytes=base64.b32decode(tenant.upper() + "======"))
    except (binascii.Error, ValueError):
        raise Unauthenticated("This is not an API key of this service.") from None
    return PresentedKey(tenant_id, prefix, sha256_of(secret))


async def verify_api_key(connection: AsyncConnection[Any], presented: PresentedKey, now: dt.datetime) -> ApiKey:
    """Return the key that was presented, in a transaction of the tenant it names; note its use once a minute.

    Raises `Unauthenticated` when it is unknown, wrong, expired or revoked.
    """
    cursor = connection.cursor(row_factory=namedtuple_row)
    await cursor.execute(_FIND, {"tenant_id": presented.tenant_id, "prefix": presented.prefix})
    found: Any = await cursor.fetchone()
    kept = None if found is None else KeptKey(found.secret_sha256, found.expires_at, found.revoked_at)
    require_in_force(kept, presented.secret_sha256, now, "The API key")
    if found.last_use_is_old:
        await connection.execute(_NOTE_USE, {"id": found.id})
    return ApiKey(found.id, presented.tenant_id, found.state)


async def create_api_key(
    session: AsyncSession, tenant_id: uuid.UUID, name: str, expires_at: dt.datetime | None = None
) -> str:
    """Insert a key and return it; it cannot be shown again. Needs a transaction of the system role."""
    new = new_secret()
    await session.execute(
        text(
            "INSERT INTO api_keys (tenant_id, name, prefix, secret_sha256, expires_at)"
            " VALUES (:tenant_id, :name, :prefix, :secret_sha256, :expires_at)"
        ),
        {
            "tenant_id": tenant_id,
            "name": name,
            "prefix": new.prefix,
            "secret_sha256": new.sha256,
            "expires_at": expires_at,
        },
    )
    return f"{_MARK}_{base32(tenant_id.bytes)}_{new.prefix}_{new.secret}"
