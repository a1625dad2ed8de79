"""What commands get in place of their installation's database: the test's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli.main import app
from db.models import OperatorAct
from db.session import Database
from tests.integration.database import FreshDatabase

Penguin = Callable[..., Any]


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


def penguin_on(database: FreshDatabase, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> Penguin:
    """Return what runs `penguin ...`, commands of these modules, on the test's database, and tells what it did."""
    for module in modules:
        monkeypatch.setattr(module, "system_session", system_session_on(database))

    async def run(*words: object) -> Any:  # noqa: ANN401 - typer's result has no public type
        return await asyncio.to_thread(CliRunner().invoke, app, [*map(str, words)])

    return run


async def acts_of_operators(database: Database) -> Sequence[OperatorAct]:
    """Return the record of acts, oldest first."""
    async with database.system() as session:
        return (await session.scalars(select(OperatorAct).order_by(OperatorAct.id))).all()
