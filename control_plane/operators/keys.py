"""Operators' keys: `pmo_<prefix>_<secret>`, shown once and kept as a SHA-256, each with the scopes it opens.

They belong to the platform and to no tenant: all of this needs the system role, which the tenants' door does not have.
"""

import datetime as dt
import hmac
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound, Unauthenticated
from control_plane.identity.secret_keys import KeptKey, new_secret, require_in_force, sha256_of
from control_plane.operators.acts import Act, Actor, record
from control_plane.operators.scopes import OperatorScope
from db.models import PlatformKey

_MARK = "pmo"
_TENANTS_MARK = "pmk_"
_ANSWERS = b"penguin kept answers"


@dataclass(frozen=True, slots=True)
class PresentedOperatorKey:
    """A key as a caller sent it: well-formed, and not yet found to be true."""

    prefix: str
    secret_sha256: bytes = field(repr=False)
    #: Known to nobody but who has the key: the digests of what it asks for are made with it (rest/kept_places.py).
    answer_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """A key that is true and in force."""

    id: uuid.UUID
    name: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class NewOperatorKey:
    """A key that was just made; `key` cannot be shown again."""

    id: uuid.UUID
    prefix: str
    key: str = field(repr=False)


_FIND = text("""
SELECT id, name, scopes, secret_sha256, expires_at, revoked_at,
    last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS last_use_is_old
FROM platform_keys WHERE prefix = :prefix
""")
# Requests that use one key at the same time must not wait for each other here.
_NOTE_USE = text("""
UPDATE platform_keys SET last_used_at = now()
WHERE id = (SELECT id FROM platform_keys WHERE id = :id FOR NO KEY UPDATE SKIP LOCKED)
""")


def parse_operator_key(key: str) -> PresentedOperatorKey:
    """Take a key apart; raise `Unauthenticated` when it has not the form of one."""
    if key.startswith(_TENANTS_MARK):
        raise Unauthenticated("This is a tenant's API key; the operators' API takes an operator's, pmo_….")
    parts = key.split("_")
    if len(parts) != 3 or parts[0] != _MARK or not (key.isascii() and parts[1].isalnum()):
        raise Unauthenticated("This is not an operator's key.")
    return PresentedOperatorKey(parts[1], sha256_of(parts[2]), hmac.digest(parts[2].encode(), _ANSWERS, "sha256"))


async def verify_operator_key(session: AsyncSession, presented: PresentedOperatorKey, now: dt.datetime) -> OperatorKey:
    """Return the key that was presented, and note its use once a minute.

    Raises `Unauthenticated` when it is unknown, wrong, expired or revoked.
    """
    found: Any = (await session.execute(_FIND, {"prefix": presented.prefix})).one_or_none()
    kept = KeptKey(found.secret_sha256, found.expires_at, found.revoked_at) if found else None
    require_in_force(kept, presented.secret_sha256, now, "The operator's key")
    if found.last_use_is_old:
        await session.execute(_NOTE_USE, {"id": found.id})
    return OperatorKey(found.id, found.name, frozenset(found.scopes))


async def create_operator_key(
    session: AsyncSession,
    actor: Actor,
    name: str,
    scopes: Iterable[OperatorScope],
    expires_at: dt.datetime | None = None,
) -> NewOperatorKey:
    """Insert a key and return it; it cannot be shown again. The act is recorded, without the key."""
    new = new_secret()
    row = PlatformKey(
        name=name, prefix=new.prefix, secret_sha256=new.sha256, scopes=sorted(scopes), expires_at=expires_at
    )
    session.add(row)
    await session.flush()
    await record(session, actor, Act.CREATE_KEY, {"key_id": row.id, "name": name, "scopes": row.scopes})
    return NewOperatorKey(row.id, new.prefix, f"{_MARK}_{new.prefix}_{new.secret}")


async def operator_keys(session: AsyncSession) -> Sequence[PlatformKey]:
    """Return all keys, also those out of force, the oldest first; without their secrets' hashes."""
    return (await session.scalars(select(PlatformKey).order_by(PlatformKey.created_at, PlatformKey.id))).all()


async def revoke_operator_key(
    session: AsyncSession, actor: Actor, key_id: uuid.UUID, reason: str | None = None
) -> None:
    """Put a key out of force at once, and record it; raise `NotFound` when there is none of that id in force."""
    revoked = await session.scalar(
        update(PlatformKey)
        .where(PlatformKey.id == key_id, PlatformKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(PlatformKey.id)
    )
    if revoked is None:
        raise NotFound(f"There is no operator's key {key_id} that is not revoked yet.")
    await record(session, actor, Act.REVOKE_KEY, {"key_id": key_id}, reason)
