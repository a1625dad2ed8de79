import asyncio

import pytest

from control_plane.errors import Unavailable
from control_plane.hub.errand import Errand


class Work:
    """Is begun, and goes on when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.go_on = asyncio.Semaphore(0)
        self.error: Exception | None = None
        self.told: list[BaseException] = []

    async def do(self) -> None:
        self.begun += 1
        try:
            await self.go_on.acquire()
            if self.error:
                raise self.error
        finally:
            self.ended += 1


async def all_that_can() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def work() -> Work:
    return Work()


async def test_calls_before_it_is_served_are_answered_once(work: Work) -> None:
    errand = Errand()
    errand.call()
    errand.call()
    assert errand.is_called
    errand.serve(work.do, work.told.append)
    await all_that_can()
    assert (work.begun, errand.is_called) == (1, False)
    await errand.end()


async def test_calls_while_it_is_done_have_it_done_once_more(work: Work) -> None:
    errand = Errand()
    errand.serve(work.do, work.told.append)
    for _ in range(3):
        errand.call()
        await all_that_can()
    assert work.begun == 1
    work.go_on.release()
    await all_that_can()
    assert (work.begun, work.ended) == (2, 1)
    work.go_on.release()
    await all_that_can()
    assert (work.begun, work.ended) == (2, 2)


async def test_an_error_is_told_and_ends_it(work: Work) -> None:
    errand = Errand()
    work.error = Unavailable("gone")
    errand.serve(work.do, work.told.append)
    errand.call()
    await all_that_can()
    errand.call()
    work.go_on.release()
    await all_that_can()
    assert (work.told, work.begun) == ([work.error], 1)


async def test_its_end_cancels_what_is_under_way_and_waits_for_it(work: Work) -> None:
    errand = Errand()
    errand.serve(work.do, work.told.append)
    errand.call()
    await all_that_can()
    await errand.end()
    assert (work.begun, work.ended, work.told) == (1, 1, [])
    errand.call()
    await all_that_can()
    assert work.begun == 1
