"""A small soak in the test run: the harness itself, on two servers, and what must be known of them."""

import pytest

from tests.soak.run import Wish, soak


@pytest.mark.timeout(600)
async def test_of_servers_that_are_well_nothing_is_said_and_of_those_that_are_hurt_it_is() -> None:
    told: list[str] = []
    result = await soak(Wish(servers=2, seconds=20.0, rate=2.0), told.append)
    assert result.accepted >= 20, told
    assert (result.arrived, result.repeated, result.missing) == (result.accepted, 0, 0)
    assert result.false_alerts == []
    # In how many seconds is a figure of the whole soak's: other tests share this machine.
    assert max(result.dead_known, result.postfix_known) < 60
