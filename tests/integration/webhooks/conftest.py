from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from control_plane.sealing import Sealer
from control_plane.settings import Settings
from control_plane.webhooks.attempt import Poster
from control_plane.webhooks.deliverer import Deliverer
from db.session import Database


@pytest.fixture
def rest_settings(rest_settings: Settings) -> Settings:
    """The same, where webhooks may lead to this machine."""
    return rest_settings.model_copy(update={"webhook_private_targets": True})


@pytest.fixture
async def deliverer(system_database: Database, rest_settings: Settings) -> AsyncIterator[Deliverer]:
    """A deliverer for the same installation, which throws the longest waits."""
    sealer = Sealer.of_file(rest_settings.sealing_key_file)
    async with aclosing(Poster(private_targets=True, timeout_seconds=2)) as poster:
        yield Deliverer(system_database, sealer, poster, dice=lambda: 1.0)
