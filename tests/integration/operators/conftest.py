import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.operators.door import make_key, operator_client


@pytest.fixture
async def operators_app(rest_settings: Settings) -> AsyncIterator[FastAPI]:
    app = make_operators_app(rest_settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def operator(operators_app: FastAPI, system_database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose key, "on call", opens everything; paths are relative to /operator/v1/."""
    made = await make_key(system_database, "on call", OperatorScope)
    async with operator_client(operators_app, made.key) as client:
        yield client


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
async def dead(system_database: Database, inbox: SomeInbox) -> list[uuid.UUID]:
    """Three dead letters, in the order of their ids."""
    ids = await make_sends(system_database, inbox, 3)
    async with system_database.system() as session:
        await session.execute(
            text(
                "UPDATE messages SET state = 'dead', state_reason = 'its server never told of it', leases = 5,"
                " silent_leases = 5 WHERE id = ANY(:ids)"
            ),
            {"ids": ids},
        )
    return sorted(ids)
