"""How a REST door ends: it says so first, and only then closes."""

import signal

import pytest
import uvicorn
from fastapi import FastAPI

from control_plane.processes import rest_server
from control_plane.processes.rest_server import DrainingServer


class Monotonic:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr(rest_server, "time", clock)
    return clock


def server(drain_seconds: float) -> tuple[DrainingServer, FastAPI]:
    app = FastAPI()
    app.state.stopping = False
    return DrainingServer(uvicorn.Config(app), app, drain_seconds), app


async def test_a_door_serves_on_while_it_says_that_it_is_about_to_end(clock: Monotonic) -> None:
    door, app = server(5)
    assert not await door.on_tick(1)
    door.handle_exit(signal.SIGTERM, None)
    assert app.state.stopping
    clock.now += 4.9
    assert not await door.on_tick(1)
    clock.now += 0.2
    assert await door.on_tick(1)


async def test_a_second_signal_cuts_it_short(clock: Monotonic) -> None:
    door, _ = server(5)
    door.handle_exit(signal.SIGTERM, None)
    door.handle_exit(signal.SIGTERM, None)
    assert await door.on_tick(1)


async def test_without_a_gateway_it_ends_at_once(clock: Monotonic) -> None:
    door, _ = server(0)
    door.handle_exit(signal.SIGTERM, None)
    assert await door.on_tick(1)
