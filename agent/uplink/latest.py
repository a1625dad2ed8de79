"""The newest value of something that changes, for whoever waits for it."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Holds the last value set; values in between may be missed, the newest never.

    For one event loop. Any number of tasks may wait; each of them sees the newest value when it wakes.
    """

    def __init__(self) -> None:
        self._value: T | None = None
        self._next_change = asyncio.Event()

    def set(self, value: T) -> None:
        """Make `value` the newest and wake everyone who waits for a change."""
        self._value = value
        self._next_change.set()
        self._next_change = asyncio.Event()

    def get(self) -> T | None:
        """Return the newest value, or None before the first."""
        return self._value

    async def changed(self) -> T:
        """Wait for the next `set` and return the newest value by then.

        A value that is there already does not count: look with `get` first.
        """
        await self._next_change.wait()
        if self._value is None:
            raise RuntimeError("a change was announced without a value")
        return self._value
