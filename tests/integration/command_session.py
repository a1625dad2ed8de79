"""What commands get in place of their installation's database: the test's."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Database
from tests.integration.database import FreshDatabase


def system_session_on(database: FreshDatabase) -> Callable[[str], AbstractAsyncContextManager[AsyncSession]]:
    """Return a stand-in for `control_plane.cli.installation.system_session`."""

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        try:
            async with opened.system() as transaction:
                yield transaction
        finally:
            await opened.close()

    return session
