"""What log-in, sessions and access tokens work with, and who it is that presents a token.

Everything here is above tenants, in transactions of the role penguin_identity.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.errors import Unauthenticated, Unavailable
from control_plane.identity.access_tokens import Claims, key_id_of, sign_token, verify_token
from control_plane.identity.oidc import read_issuers
from control_plane.identity.person_passwords import PersonPasswords
from control_plane.people.oidc_issuers import Issuers
from control_plane.people.post import Post, post_of
from control_plane.people.session_states import SessionStates
from control_plane.people.sessions import OpenSession
from control_plane.people.signing_keys import KeyRing
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database, driver_connection

_POOL_SIZE = 5


@dataclass(frozen=True, slots=True)
class People:
    """One for a process."""

    database: Database
    sealer: Sealer
    clock: Clock
    keys: KeyRing
    states: SessionStates
    passwords: PersonPasswords
    public_url: str
    issuers: Issuers
    _post: Post | None = field(repr=False)

    @property
    def post(self) -> Post:
        """How letters leave; raise `Unavailable` where no way is set."""
        if self._post is None:
            raise Unavailable(
                "Letters cannot be sent: whoever runs this installation sets PENGUIN_MAIL_URL or PENGUIN_MAIL_INBOX."
            )
        return self._post

    async def identify(self, token: str) -> Claims:
        """Return whose access token this is; raise `Unauthenticated` when it is not true or the session has ended."""
        key = await self.keys.trusted(key_id_of(token))
        claims = verify_token(token, key, self.public_url, self.clock())
        if not await self.states.is_live(claims.session_id, self.clock()):
            raise Unauthenticated("The session has ended; log in again.")
        return claims

    async def access_token(self, opened: OpenSession) -> str:
        """Return an access token for a session."""
        key = await self.keys.signing()
        claims = Claims(opened.person_id, opened.id, opened.working_in)
        return sign_token(claims, key.id, key.private, self.public_url, self.clock())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction of the role that sees people."""
        async with self.database.system() as session:
            yield session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Open the same transaction, and give psycopg's own connection."""
        async with self.transaction() as session:
            yield await driver_connection(session)

    async def close(self) -> None:
        """Close what is open."""
        await self.issuers.close()
        await self.states.close()
        await self.database.close()


def make_people(settings: Settings, api_database: Database, sealer: Sealer, clock: Clock) -> People:
    """Return what the settings say; it connects to nothing yet."""
    database = Database(settings.identity_database_url.get_secret_value(), pool_size=_POOL_SIZE)
    public_url = settings.public_url.rstrip("/")
    return People(
        database=database,
        sealer=sealer,
        clock=clock,
        keys=KeyRing(database, sealer, clock),
        states=SessionStates(database, settings.redis_url.get_secret_value()),
        passwords=PersonPasswords(),
        public_url=public_url,
        issuers=Issuers(read_issuers(settings.oidc_file), public_url, clock),
        _post=post_of(settings, api_database),
    )
