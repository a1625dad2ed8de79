import asyncio
import uuid
from collections.abc import Sequence

import pytest
import sqlalchemy.exc

from control_plane.errors import Forbidden, PenguinError
from control_plane.hub.batches import turns
from control_plane.hub.together import MOST, Together

AWAY = sqlalchemy.exc.OperationalError("select 1", {}, Exception("away"))


class Store:
    """Doubles numbers; refuses 13, chokes on 66, and is away while told so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.away = False

    async def double(self, items: Sequence[int]) -> Sequence[int | PenguinError]:
        self.batches.append(list(items))
        await asyncio.sleep(0)
        if self.away:
            raise AWAY
        if 66 in items:
            raise ValueError("66")
        return [Forbidden("unlucky") if item == 13 else 2 * item for item in items]


async def test_one_alone_is_served_at_once_and_all_who_come_meanwhile_together() -> None:
    store = Store()
    together = Together(store.double, spacing=0.001)
    assert await together.serve(1) == 2
    assert await asyncio.gather(*map(together.serve, range(5))) == [0, 2, 4, 6, 8]
    assert store.batches == [[1], [0, 1, 2, 3, 4]]


async def test_a_crowd_is_served_in_parts() -> None:
    store = Store()
    together = Together(store.double, spacing=0.0)
    assert len(await asyncio.gather(*map(together.serve, range(100, 101 + MOST)))) == MOST + 1
    assert [len(batch) for batch in store.batches] == [MOST, 1]


async def test_a_refusal_is_its_callers_own() -> None:
    together = Together(Store().double, spacing=0.0)
    first, unlucky, last = await asyncio.gather(*map(together.serve, (1, 13, 3)), return_exceptions=True)
    assert (first, last) == (2, 6)
    assert isinstance(unlucky, Forbidden)


async def test_what_cannot_be_stored_harms_nobody_else() -> None:
    together = Together(Store().double, spacing=0.0)
    first, poison, last = await asyncio.gather(*map(together.serve, (1, 66, 3)), return_exceptions=True)
    assert (first, last) == (2, 6)
    assert isinstance(poison, ValueError)


async def test_while_the_database_is_away_all_are_told_and_it_serves_again_after() -> None:
    store = Store()
    together = Together(store.double, spacing=0.0)
    store.away = True
    told = await asyncio.gather(*map(together.serve, (1, 2)), return_exceptions=True)
    assert told == [AWAY, AWAY]
    assert store.batches == [[1, 2]]
    store.away = False
    assert await together.serve(3) == 6


async def test_a_caller_that_goes_away_leaves_the_others_served() -> None:
    together = Together(Store().double, spacing=0.0)
    gone, stays = together.serve(1), together.serve(2)
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone


def test_in_each_turn_a_server_is_there_once_and_the_last_of_it_comes_last() -> None:
    one, two, three = (uuid.UUID(int=number) for number in (1, 2, 3))
    assert turns([]) == []
    assert turns([two, one]) == [[1, 0]]
    assert turns([two, one, two, three, two]) == [[1, 0, 3], [2], [4]]


async def test_a_server_that_is_cut_off_leaves_nobody_waiting() -> None:
    begun, calls = asyncio.Event(), 0

    async def act(items: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            begun.set()
            raise asyncio.CancelledError
        return items

    together = Together(act, spacing=0.0)
    with pytest.raises(asyncio.CancelledError):
        await together.serve(1)
    assert begun.is_set()
    assert await together.serve(2) == 2
