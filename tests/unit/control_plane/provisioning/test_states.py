from collections.abc import Mapping

import pytest

from control_plane.provisioning.states import (
    INBOX_TRANSITIONS,
    SERVER_TRANSITIONS,
    InboxStatus,
    ServerStatus,
)


@pytest.mark.parametrize(
    ("table", "states", "first"),
    [
        (SERVER_TRANSITIONS, ServerStatus, ServerStatus.PROVISIONING),
        (INBOX_TRANSITIONS, InboxStatus, InboxStatus.PENDING_SETUP),
    ],
)
def test_every_state_can_be_reached_and_says_what_follows(
    table: Mapping[str, frozenset[str]], states: type[ServerStatus | InboxStatus], first: str
) -> None:
    reached = {first}
    while following := {after for before in reached for after in table[before]} - reached:
        reached |= following

    assert set(table) == set(states)
    assert reached == set(states)


def test_nothing_but_its_removal_ends_a_ready_server() -> None:
    assert SERVER_TRANSITIONS[ServerStatus.READY] == {ServerStatus.DELETING}
