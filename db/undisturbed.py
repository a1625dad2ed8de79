"""Finish what was begun in the database, also when whoever asked for it goes away."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def undisturbed(work: Awaitable[T]) -> T:
    """Return what `work` returns; when we are cancelled, let it come to its end first.

    A transaction that is cancelled half-way costs its connection, and one that is cancelled while it connects leaks it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
