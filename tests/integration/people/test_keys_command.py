import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import keys
from control_plane.cli.main import app
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import FreshDatabase
from tests.integration.people.visitor import Visitor


async def test_a_changed_key_is_published_before_it_signs_and_sessions_go_on(
    anna: Visitor, database: FreshDatabase, people_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        async with opened.system() as transaction:
            yield transaction
        await opened.close()

    def state(_instance: str) -> Path:
        return people_settings.state_dir

    monkeypatch.setattr(keys, "system_session", session)
    monkeypatch.setattr(keys, "state_dir", state)
    words = ["keys", "rotate-signing", "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    made = json.loads(result.stdout)["signing_key"]
    people = anna.app.state.parts.people
    people.keys._read_at = None
    published = [key["kid"] for key in (await anna.get("auth/jwks.json")).json()["keys"]]
    assert made in published
    assert len(published) == 2
    assert str((await people.keys.signing()).id) != made
    assert (await anna.refresh()).status_code == 200
    assert (await anna.get("auth/me")).status_code == 200
