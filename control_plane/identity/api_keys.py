"""API keys: `pmk_<tenant>_<prefix>_<secret>`, shown once and kept as a SHA-256.

The tenant's id is part of the key (base 32), so that the look-up itself happens under that tenant's row-level
security. The secret is 32 random bytes: a plain hash of it cannot be searched, so no slow hash is needed. The prefix
tells keys apart and may be shown.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Unauthenticated

_MARK = "pmk"
_PREFIX_BYTES = 5
_SECRET_BYTES = 32


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
    return PresentedKey(tenant_id, prefix, hashlib.sha256(secret.encode()).digest())


async def verify_api_key(connection: AsyncConnection[Any], presented: PresentedKey, now: dt.datetime) -> ApiKey:
    """Return the key that was presented, in a transaction of the tenant it names; note its use once a minute.

    Raises `Unauthenticated` when it is unknown, wrong, expired or revoked.
    """
    cursor = connection.cursor(row_factory=namedtuple_row)
    await cursor.execute(_FIND, {"tenant_id": presented.tenant_id, "prefix": presented.prefix})
    found: Any = await cursor.fetchone()
    if found is None or not hmac.compare_digest(found.secret_sha256, presented.secret_sha256):
        raise Unauthenticated("The API key is not valid.")
    if found.revoked_at is not None:
        raise Unauthenticated("The API key has been revoked.")
    if found.expires_at is not None and found.expires_at <= now:
        raise Unauthenticated("The API key has expired.")
    if found.last_use_is_old:
        await connection.execute(_NOTE_USE, {"id": found.id})
    return ApiKey(found.id, presented.tenant_id, found.state)


async def create_api_key(
    session: AsyncSession, tenant_id: uuid.UUID, name: str, expires_at: dt.datetime | None = None
) -> str:
    """Insert a key and return it; it cannot be shown again. Needs a transaction of the system role."""
    prefix, secret = _base32(secrets.token_bytes(_PREFIX_BYTES)), _base32(secrets.token_bytes(_SECRET_BYTES))
    await session.execute(
        text(
            "INSERT INTO api_keys (tenant_id, name, prefix, secret_sha256, expires_at)"
            " VALUES (:tenant_id, :name, :prefix, :secret_sha256, :expires_at)"
        ),
        {
            "tenant_id": tenant_id,
            "name": name,
            "prefix": prefix,
            "secret_sha256": hashlib.sha256(secret.encode()).digest(),
            "expires_at": expires_at,
        },
    )
    return f"{_MARK}_{_base32(tenant_id.bytes)}_{prefix}_{secret}"


def _base32(value: bytes) -> str:
    return base64.b32encode(value).decode().rstrip("=").lower()
