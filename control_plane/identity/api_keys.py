"""API keys: `pmk_<tenant>_<prefix>_<secret>`, shown once and kept as a SHA-256.

The tenant's id is part of the key (base 32), so that the look-up itself happens under that tenant's row-level
security. Prefix and secret are as `secret_keys.py` makes them.
"""

import base64
import binascii
import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Unauthenticated
from control_plane.identity.networks import Address, Network, lies_in
from control_plane.identity.secret_keys import KeptKey, base32, new_secret, require_in_force, sha256_of

_MARK = "pmk"
#: How every key begins.
MARK = f"{_MARK}_"
_NO_KEY = "This is not an API key of this service."


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller sent it: well-formed, and not yet found to be true. `address` is where it came from."""

    tenant_id: uuid.UUID
    prefix: str
    secret_sha256: bytes = field(repr=False)
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class KeyBounds:
    """Until when a key is in force (None: for good) and from where it may come (no network: from everywhere)."""

    expires_at: dt.datetime | None = None
    networks: tuple[Network, ...] = ()


#: The bounds of a key that has none.
UNBOUNDED = KeyBounds()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that is true, in force, and known by its row."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    tenant_state: str
    #: None for all that the tenant may.
    scopes: frozenset[str] | None
    bounds: KeyBounds
    #: None for the whole tenant.
    workspaces: frozenset[uuid.UUID] | None


_FIND = """
SELECT k.id, k.secret_sha256, k.expires_at, k.revoked_at, k.scopes, k.networks, k.workspaces, t.state,
    k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS last_use_is_old
FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
WHERE k.tenant_id = %(tenant_id)s AND k.prefix = %(prefix)s
"""

# Requests that use one key at the same time must not wait for each other here.
_NOTE_USE = """
UPDATE api_keys SET last_used_at = now()
WHERE id = (SELECT id FROM api_keys WHERE id = %(id)s FOR NO KEY UPDATE SKIP LOCKED)
"""


def parse_api_key(key: str, address: Address | None = None) -> PresentedKey:
    """Take a key apart; raise `Unauthenticated` when it has not the form of one."""
    name, _, secret = key.rpartition("_")
    tenant_id, prefix = parse_key_name(name)
    return PresentedKey(tenant_id, prefix, sha256_of(_ascii(secret)), address)


def parse_key_name(name: str) -> tuple[uuid.UUID, str]:
    """Return the tenant and prefix of a key without its secret, `pmk_<tenant>_<prefix>`; raise `Unauthenticated`."""
    parts = _ascii(name).split("_")
    if len(parts) != 3 or parts[0] != _MARK:
        raise Unauthenticated(_NO_KEY)
    try:
        return uuid.UUID(bytes=base64.b32decode(parts[1].upper() + "======")), parts[2]
    except (binascii.Error, ValueError):
        raise Unauthenticated(_NO_KEY) from None


def _ascii(text: str) -> str:
    if not text.isascii():
        raise Unauthenticated(_NO_KEY)
    return text


async def verify_api_key(connection: AsyncConnection[Any], presented: PresentedKey, now: dt.datetime) -> ApiKey:
    """Return the key that was presented, in a transaction of the tenant it names; note its use once a minute.

    Raises `Unauthenticated` when it is unknown, wrong, expired, revoked, or comes from where it may not.
    """
    cursor = connection.cursor(row_factory=namedtuple_row)
    await cursor.execute(_FIND, {"tenant_id": presented.tenant_id, "prefix": presented.prefix})
    found: Any = await cursor.fetchone()
    kept = None if found is None else KeptKey(found.secret_sha256, found.expires_at, found.revoked_at)
    require_in_force(kept, presented.secret_sha256, now, "The API key")
    bounds = KeyBounds(found.expires_at, tuple(found.networks))
    if bounds.networks and not lies_in(presented.address, bounds.networks):
        raise Unauthenticated("The API key may not be used from this address.")
    if found.last_use_is_old:
        await connection.execute(_NOTE_USE, {"id": found.id})
    scopes = None if found.scopes is None else frozenset(found.scopes)
    workspaces = None if found.workspaces is None else frozenset(found.workspaces)
    return ApiKey(found.id, presented.tenant_id, found.state, scopes, bounds, workspaces)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made; `key` cannot be shown again."""

    id: uuid.UUID
    prefix: str
    key: str = field(repr=False)


_INSERT = text("""
INSERT INTO api_keys
    (id, tenant_id, name, prefix, secret_sha256, scopes, expires_at, networks, workspaces, created_by)
VALUES (:id, :tenant_id, :name, :prefix, :secret_sha256, :scopes, :expires_at, CAST(:networks AS cidr[]),
    CAST(:workspaces AS uuid[]), :created_by)
""")


async def insert_api_key(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    name: str,
    *,
    created_by: str,
    scopes: Iterable[str] | None = None,
    bounds: KeyBounds = UNBOUNDED,
    workspaces: frozenset[uuid.UUID] | None = None,
) -> NewApiKey:
    """Insert a key and return it; without scopes it may do all that its tenant may, without workspaces in all."""
    new, key_id = new_secret(), uuid.uuid4()
    values = {
        "id": key_id,
        "tenant_id": tenant_id,
        "name": name,
        "prefix": new.prefix,
        "secret_sha256": new.sha256,
        "scopes": None if scopes is None else sorted(scopes),
        "expires_at": bounds.expires_at,
        "networks": [str(network) for network in bounds.networks],
        "workspaces": None if workspaces is None else sorted(workspaces),
        "created_by": created_by,
    }
    await session.execute(_INSERT, values)
    return NewApiKey(key_id, new.prefix, f"{_MARK}_{base32(tenant_id.bytes)}_{new.prefix}_{new.secret}")


async def create_api_key(
    session: AsyncSession, tenant_id: uuid.UUID, name: str, expires_at: dt.datetime | None = None
) -> str:
    """Make a key that may do all, for an operator, and return it. Needs a transaction of the system role."""
    bounds = KeyBounds(expires_at)
    return (await insert_api_key(session, tenant_id, name, created_by="operator", bounds=bounds)).key
