"""Who may wait to be accepted, when the database takes nobody."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from control_plane.clock import utc_now
from control_plane.errors import Unavailable
from control_plane.identity.api_keys import PresentedKey
from control_plane.messages import together
from control_plane.messages.accept import WantedSend
from control_plane.messages.send_request import SendRequest
from control_plane.messages.together import AcceptsTogether
from db.session import Database

_PLACES = 12


class AwayDatabase:
    """Opens no transaction, ever."""

    @asynccontextmanager
    async def tenant_connection(self, _tenant_id: uuid.UUID) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


class Crowd:
    """Requests that wait."""

    def __init__(self) -> None:
        self.accepting = AcceptsTogether(cast("Database", AwayDatabase()), utc_now)
        self.waiting: list[asyncio.Task[object]] = []

    async def come(self, key: PresentedKey, count: int) -> int:
        """Have so many requests come; return how many wait, and are not refused."""
        send = WantedSend(uuid.uuid4(), SendRequest("anna@example.net", "Hello", "Hello"), None)
        came = [asyncio.create_task(self.accepting.accept(key, send)) for _ in range(count)]
        await asyncio.sleep(0)
        refused = [each for each in came if each.done()]
        assert all(isinstance(each.exception(), Unavailable) for each in refused)
        self.waiting += [each for each in came if not each.done()]
        return count - len(refused)

    async def leave(self, count: int) -> None:
        """Have those go that came first."""
        gone, self.waiting = self.waiting[:count], self.waiting[count:]
        for each in gone:
            each.cancel()
        await asyncio.gather(*gone, return_exceptions=True)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    monkeypatch.setattr(together, "MAX_WAITING", _PLACES)
    return Crowd()


def key_of(tenant_id: uuid.UUID, prefix: str = "one") -> PresentedKey:
    return PresentedKey(tenant_id, prefix, b"")


async def test_a_burst_of_one_tenant_leaves_places_to_the_others(crowd: Crowd) -> None:
    bursting, second, third = (uuid.uuid4() for _ in range(3))
    assert await crowd.come(key_of(bursting), 3 * _PLACES) == _PLACES // 2
    assert await crowd.come(key_of(bursting, "another"), _PLACES) == 0, "its keys share its places"
    assert await crowd.come(key_of(second), _PLACES) == _PLACES // 4
    assert await crowd.come(key_of(third), 1) == 1


async def test_never_do_more_wait_than_may(crowd: Crowd) -> None:
    waiting = sum([await crowd.come(key_of(uuid.uuid4()), _PLACES) for _ in range(2 * _PLACES)])
    assert waiting == _PLACES


async def test_who_leaves_leaves_a_place(crowd: Crowd) -> None:
    tenant_id = uuid.uuid4()
    most = await crowd.come(key_of(tenant_id), _PLACES)
    await crowd.leave(2)
    assert await crowd.come(key_of(tenant_id), _PLACES) == 2
    await crowd.leave(most)
    assert await crowd.come(key_of(uuid.uuid4()), _PLACES) == most
