import logging

import pytest
import sqlalchemy.exc
from redis.exceptions import ConnectionError as RedisConnectionError

from control_plane.queuer.repeat import Attempts


async def test_an_outage_is_told_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outcomes: list[float | Exception] = [
        RedisConnectionError("secret://host"),
        sqlalchemy.exc.OperationalError("SELECT", {}, Exception()),
        0.5,
        0.25,
    ]

    async def act() -> float:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    attempts = Attempts("queueing")
    pauses = [await attempts.attempt(act) for _ in range(4)]

    assert pauses == [1.0, 1.0, 0.5, 0.25]
    assert caplog.messages == ["queueing waits: ConnectionError", "queueing goes on"]


async def test_a_fault_of_ours_is_not_waited_out() -> None:
    async def act() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Attempts("queueing").attempt(act)
