"""Do something again and again, through times in which PostgreSQL or Redis is away."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Never

from control_plane.queuer.streams import QUEUE_AWAY
from db.notifications import DATABASE_AWAY
from db.undisturbed import undisturbed

_AWAY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Attempts:
    """Runs attempts that may fail because a part is away, and tells of a change only."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._away = False

    async def attempt(self, act: Callable[[], Coroutine[Any, Any, float]]) -> float:
        """Return the seconds to wait until the next attempt: what `act` returned, or a moment after it failed."""
        try:
            pause = await undisturbed(act())
        except (*QUEUE_AWAY, *DATABASE_AWAY) as error:
            if not self._away:
                _log.warning("%s waits: %s", self._what, type(error).__name__)
            self._away = True
            return _AWAY_SECONDS
        if self._away:
            _log.info("%s goes on", self._what)
        self._away = False
        return pause


async def repeat(what: str, act: Callable[[], Coroutine[Any, Any, float]]) -> Never:
    """Do `act` forever, after as many seconds as it returned."""
    attempts = Attempts(what)
    while True:
        pause = await attempts.attempt(act)
        await asyncio.sleep(pause)
