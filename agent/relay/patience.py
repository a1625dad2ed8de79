"""Waiting for a journal that cannot write: the disk may be full, and nothing may be forgotten for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agent.journal import JournalUnavailable

T = TypeVar("T")

#: Seconds between two tries.
_PAUSE = 1.0

_log = logging.getLogger(__name__)


async def persist(operation: Callable[[], Awaitable[T]]) -> T:
    """Do `operation` on the journal, again and again until it is done."""
    while True:
        try:
            return await operation()
        except JournalUnavailable as error:
            _log.warning("%s; trying again", error)
            await asyncio.sleep(_PAUSE)
