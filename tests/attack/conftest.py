import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from tests.attack.ground import Ground, make_ground
from tests.integration.database import cluster_with_template, fresh_database


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for the whole run."""
    with cluster_with_template() as running:
        yield running


@pytest.fixture(scope="session")
def ground(cluster: EmbeddedPostgres) -> Iterator[Ground]:
    """One filled database for all attacks: what one of them changed, another must not find."""
    with fresh_database(cluster) as fresh:
        yield make_ground(fresh)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One Redis for the whole run."""
    with tempfile.TemporaryDirectory(prefix="penguin-redis-") as directory:
        server = EmbeddedRedis(Path(directory) / "redis")
        server.start()
        yield server
        server.stop()
