from collections.abc import Iterator

import pytest

from control_plane.embedded.postgres import EmbeddedPostgres
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
