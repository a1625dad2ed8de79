"""A small `penguin bench rotation` in the test run: people whose tokens end in seconds, while all keys change."""

import pytest

from tests.bench.report import Rounds
from tests.bench.rotation import Wish, one_round, running_ground


@pytest.mark.timeout(600)
async def test_no_request_and_no_refresh_fails_while_all_keys_change() -> None:
    wish, seen = Wish(people=3, signing_keys=2, master_keys=1, refreshes=1, speed=60.0, pause=0.1), Rounds()
    async with running_ground(wish) as ground:
        await one_round(ground, seen)
    assert seen.notes == []
    assert (seen.figures["failed"], seen.figures["failed without a change"]) == ([0], [0])
    assert seen.figures["refreshes"][0] >= wish.people * wish.refreshes
    # Of each person at least the webhook's secret and that of the key that signs.
    assert seen.figures["values sealed anew in the last of them"][0] >= wish.people * 2
