import uuid

import pytest

from control_plane.monitoring.probe import Look, believable


@pytest.mark.parametrize(
    ("shut", "looked_at", "believed"),
    [
        (1, 1, True),
        (4, 4, True),
        (5, 5, False),
        (5, 15, False),
        (5, 16, True),
    ],
)
def test_ports_that_are_shut_at_many_servers_at_once_are_our_own_fault(
    shut: int, looked_at: int, *, believed: bool
) -> None:
    well, ill = {25: Look(), 993: Look()}, {25: Look(error="no answer"), 993: Look()}
    looks = {uuid.uuid4(): ill if place < shut else well for place in range(looked_at)}
    expected = looks if believed else {server: {} if found is ill else found for server, found in looks.items()}
    assert believable(looks) == expected
