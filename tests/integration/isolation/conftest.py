from collections.abc import AsyncIterator

import pytest

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server


@pytest.fixture
async def owner_database(owner_url: str) -> AsyncIterator[Database]:
    opened = Database(owner_url)
    yield opened
    await opened.close()


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant), limit=1_000_000)


@pytest.fixture
async def other_inbox(system_database: Database, other_tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(
        system_database, other_tenant, await make_server(system_database, other_tenant), limit=1_000_000
    )
