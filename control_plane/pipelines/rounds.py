"""Rounds: the same for many rows, some of them at a time, in which one row's trouble is its own.

A row for which something unexpected happens is told of in the log and left for the next round, and so is one that takes
too long. Tenants take turns: of one whose rows are all slow, no more than one is in the way of another's next.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

from sqlalchemy import Row

_log = logging.getLogger(__name__)


async def go_round(
    what: str, rows: Sequence[Row[Any]], do: Callable[[Row[Any]], Awaitable[object]], *, at_once: int, seconds: float
) -> None:
    """Do it for each row, for `seconds` at most; each has `tenant_id` and `id`, `what` names them in the log."""
    turns = asyncio.Semaphore(at_once)

    async def one(row: Row[Any]) -> None:
        async with turns, asyncio.timeout(seconds):
            await do(row)

    in_turn = taking_turns(rows)
    outcomes = await asyncio.gather(*map(one, in_turn), return_exceptions=True)
    for row, outcome in zip(in_turn, outcomes, strict=True):
        match outcome:
            case TimeoutError():
                _log.warning("%s %s: nothing came of it in time, it is left for the next round", what, row.id)
            case Exception():
                _log.error("%s %s: left for the next round", what, row.id, exc_info=outcome)


def taking_turns(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return the first of each tenant, then the second of each, and so on."""
    by_tenant: dict[Any, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_tenant[row.tenant_id].append(row)
    return [row for row in chain.from_iterable(zip_longest(*by_tenant.values())) if row is not None]
