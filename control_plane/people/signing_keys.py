"""The keys that sign access tokens, and how one follows another without a request that fails.

A new key is published first and signs a minute later, when every process has read it; the one before is trusted until
the last token that it signed has expired. Each process reads the keys anew every 20 seconds, and at once, but no
oftener than each second, when a token names one that it does not know. The first key signs at once, so a process that
knows of no key looks each time.
"""

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.data_keys.keys import keys_for, platform_keys
from control_plane.errors import Unauthenticated
from control_plane.identity.access_tokens import LIFETIME
from control_plane.sealing import DataKeys, Sealer
from db.models import SigningKey
from db.session import Database

#: How long a key is known before it signs.
LEAD = dt.timedelta(seconds=60)

#: How long a key signs before the next takes its place.
ROTATED_AFTER = dt.timedelta(days=30)

_READ_AGAIN = dt.timedelta(seconds=20)
_READ_AGAIN_FOR_UNKNOWN = dt.timedelta(seconds=1)
# Any number will do, as long as it stays the same.
_LOCK = text("SELECT pg_advisory_xact_lock(7032116)")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as a process keeps it in memory."""

    id: uuid.UUID
    signs_from: dt.datetime
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> Ed25519PublicKey:
        """What tokens are verified with."""
        return self.private.public_key()


async def rotate(session: AsyncSession, sealer: Sealer, now: dt.datetime, lead: dt.timedelta = LEAD) -> SigningKey:
    """Insert the next key, which signs after `lead`, and forget those whose last token has expired.

    The first key signs at once.
    """
    await session.execute(_LOCK)
    present = (await session.scalars(select(SigningKey).order_by(SigningKey.signs_from))).all()
    key_id, private = uuid.uuid4(), Ed25519PrivateKey.generate()
    keys = await platform_keys(session, sealer)
    made = SigningKey(
        id=key_id,
        public_key=private.public_key().public_bytes_raw(),
        private_key_sealed=keys.seal(private.private_bytes_raw(), _place(key_id)),
        signs_from=now + lead if present else now,
    )
    session.add(made)
    forgotten = [key.id for key, successor in pairwise(present) if successor.signs_from + LIFETIME + LEAD < now]
    await session.execute(delete(SigningKey).where(SigningKey.id.in_(forgotten)))
    await session.flush()
    return made


async def rotate_when_due(session: AsyncSession, sealer: Sealer, now: dt.datetime) -> SigningKey | None:
    """Insert the next key when the last has signed for `ROTATED_AFTER`; where there is none yet, none is needed."""
    await session.execute(_LOCK)
    last = await session.scalar(select(func.max(SigningKey.signs_from)))
    if last is None or last > now - ROTATED_AFTER:
        return None
    return await rotate(session, sealer, now)


class KeyRing:
    """The keys as one process knows them."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._keys: Sequence[Key] = ()
        self._read_at: dt.datetime | None = None
        self._reading = asyncio.Lock()

    async def signing(self) -> Key:
        """Return the key that signs now; make the first one when there is none."""
        await self._read_unless_within(_READ_AGAIN)
        if not self._keys:
            async with self._database.system() as session:
                await session.execute(_LOCK)
                if not (await session.scalars(select(SigningKey.id))).first():
                    await rotate(session, self._sealer, self._clock())
            await self._read_unless_within(_READ_AGAIN)
        return _in_force(self._keys, self._clock())

    async def trusted(self, key_id: uuid.UUID) -> Ed25519PublicKey:
        """Return the public half of a key; raise `Unauthenticated` for one that there is not."""
        await self._read_unless_within(_READ_AGAIN)
        if all(key.id != key_id for key in self._keys):
            await self._read_unless_within(_READ_AGAIN_FOR_UNKNOWN)
        for key in self._keys:
            if key.id == key_id:
                return key.public
        raise Unauthenticated("The access token is signed by a key that is not in force.")

    async def published(self) -> Sequence[Key]:
        """Return all keys, also the one that signs next."""
        await self._read_unless_within(_READ_AGAIN)
        return self._keys

    async def _read_unless_within(self, age: dt.timedelta) -> None:
        async with self._reading:
            now = self._clock()
            if self._keys and self._read_at is not None and now - self._read_at < age:
                return
            columns = select(SigningKey.id, SigningKey.signs_from, SigningKey.private_key_sealed)
            async with self._database.system() as session:
                rows = (await session.execute(columns)).all()
                keys = await keys_for(session, self._sealer, [row.private_key_sealed for row in rows])
            self._keys = [Key(row.id, row.signs_from, _open(keys, row.id, row.private_key_sealed)) for row in rows]
            self._read_at = now


def _in_force(keys: Sequence[Key], now: dt.datetime) -> Key:
    """Return the key that signs; the first signs at once, also where a clock is behind that of whoever made it."""
    first, *following = sorted(keys, key=lambda key: key.signs_from)
    return next((key for key in reversed(following) if key.signs_from <= now), first)


def _open(keys: DataKeys, key_id: uuid.UUID, sealed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(keys.open(sealed, _place(key_id)))


def _place(key_id: uuid.UUID) -> str:
    return f"signing_keys.private_key_sealed:{key_id}"
