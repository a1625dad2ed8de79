import uuid
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.fleet.servers import is_reachable

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LINK = uuid.UUID(int=1)


@pytest.mark.parametrize(
    ("link", "silence", "reachable"),
    [
        (LINK, timedelta(seconds=0), True),
        (LINK, timedelta(seconds=45), True),
        (LINK, timedelta(seconds=46), False),
        (None, timedelta(seconds=1), False),
    ],
)
def test_a_server_is_reachable_while_it_is_linked_and_was_heard_of_lately(
    link: uuid.UUID | None, silence: timedelta, reachable: bool
) -> None:
    assert is_reachable(link, NOW - silence, NOW) is reachable


def test_a_server_that_was_never_heard_of_is_not_reachable() -> None:
    assert not is_reachable(LINK, None, NOW)
