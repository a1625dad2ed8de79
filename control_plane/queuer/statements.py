"""The queuer's statements, each in a file of its own and each a transaction of its own.

They run in autocommit on psycopg itself: one round trip, no lock held while the queuer thinks, and message bodies in
binary.

They are planned anew each time, for the tables as they are: a plan that was made for an empty table took a minute and a
half for one claim when a backlog had come. The two statements of a round are chains of look-ups in indexes, whatever
the tables hold, and so their connections are forbidden everything else, which also makes planning short.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from operator import itemgetter
from types import MappingProxyType
from typing import Any, overload

import psycopg
from psycopg.rows import AsyncRowFactory, DictRow, TupleRow, dict_row, tuple_row

from control_plane.queuer.allot import Line
from control_plane.queuer.keys import PRIORITIES
from control_plane.queuer.leased_send import LeasedSend
from db.session import Database

_SQL = resources.files("control_plane.queuer")
_WAITING = _SQL.joinpath("waiting.sql").read_bytes()
_HEAVY = _SQL.joinpath("heavy.sql").read_bytes()
_CLAIM = _SQL.joinpath("claim.sql").read_bytes()
_REFILL = _SQL.joinpath("refill.sql").read_bytes()
_STALE = _SQL.joinpath("stale.sql").read_bytes()
_EXPIRED = _SQL.joinpath("expired.sql").read_bytes()
_RECLAIM = _SQL.joinpath("reclaim.sql").read_bytes()
_SWEEP_HOMELESS = _SQL.joinpath("sweep_homeless.sql").read_bytes()
_SWEEP_RELAYED = _SQL.joinpath("sweep_relayed.sql").read_bytes()
_SWEEP_SILENT = _SQL.joinpath("sweep_silent.sql").read_bytes()
#: Servers whose agents read their streams, or are about to.
_SERVERS = b"SELECT id FROM vps_servers WHERE status IN ('provisioning', 'ready') AND banned_at IS NULL"

#: A claim ends with the send that reaches this many bytes of messages.
MOST_BYTES = 16 * 1024 * 1024
#: Envelopes written again at a time; messages may have 10 MB each.
REFILL_PAGE = 50
_RECLAIM_PAGE = 500
#: Silent leases after which a send is a dead letter.
MOST_SILENT_LEASES = 5
#: A server whose clock differs from ours by more is not leased to, unless the settings say otherwise.
CLOCK_TOLERANCE_SECONDS = 10
#: For a connection's life. Compiling (jit) a plan of many look-ups takes longer than any of them.
_PLAN_LOOKUPS_ONLY = b"""
SELECT set_config('plan_cache_mode', 'force_custom_plan', false), set_config('jit', 'off', false),
       set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
       set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false)
"""
_PLANNED = "penguin_queuer_lookups_only"
#: Places in a row of claim.sql.
_PRIORITY_AND_TURN = itemgetter(2, -1)
_EPOCH = datetime.fromtimestamp(0, UTC)
_FIRST_ID = uuid.UUID(int=0)

_log = logging.getLogger(__name__)


async def servers(database: Database) -> list[uuid.UUID]:
    """Return the servers that must have streams."""
    return [row["id"] for row in await _fetch(database, _SERVERS, {})]


async def waiting_lines(database: Database, clock_tolerance_seconds: int = CLOCK_TOLERANCE_SECONDS) -> list[Line]:
    """Return which lines have waiting sends, due or not, that may be leased: nothing paused, the server well."""
    rows = await _fetch(database, _WAITING, {"clock_tolerance_seconds": clock_tolerance_seconds}, lookups_only=True)
    return [Line(row["vps_id"], row["priority"]) for row in rows]


async def heavy_lines(database: Database, most_bytes: Mapping[Line, int]) -> set[Line]:
    """Return the lines whose large leased sends have at least as many bytes together."""
    parameters = {
        "vps_ids": [line.vps_id for line in most_bytes],
        "priorities": [line.priority for line in most_bytes],
        "most_bytes": list(most_bytes.values()),
    }
    rows = await _fetch(database, _HEAVY, parameters, lookups_only=True)
    return {Line(row["vps_id"], row["priority"]) for row in rows}


async def claim(
    database: Database,
    rooms: Mapping[Line, int],
    lease_seconds: int,
    clock_tolerance_seconds: int = CLOCK_TOLERANCE_SECONDS,
) -> list[LeasedSend]:
    """Lease sends and return them, committed, in the order in which they are to be taken."""
    parameters = {
        "vps_ids": [line.vps_id for line in rooms],
        "priorities": [line.priority for line in rooms],
        "rooms": list(rooms.values()),
        "lease_seconds": lease_seconds,
        "clock_tolerance_seconds": clock_tolerance_seconds,
        "most_bytes": MOST_BYTES,
    }
    rows = await _fetch(database, _CLAIM, parameters, tuple_row, lookups_only=True)
    rows.sort(key=_PRIORITY_AND_TURN)
    return [LeasedSend._make(row[:-1]) for row in rows]


async def leased_sends(
    database: Database,
    vps_id: uuid.UUID,
    after: LeasedSend | None = None,
    *,
    gone_before: Sequence[str] = ("infinity",) * len(PRIORITIES),
    seconds: float = 0.0,
) -> Sequence[LeasedSend]:
    """Return the next page of a server's leased sends by deadline; an empty one comes after the last.

    Only those leased so many seconds ago with a deadline before `gone_before` of their priority (timestamptz as text).
    """
    parameters = {
        "vps_id": vps_id,
        "after_deadline": after.lease_deadline if after else _EPOCH,
        "after": after.id if after else _FIRST_ID,
        "gone_before": list(gone_before),
        "seconds": seconds,
        "page": REFILL_PAGE,
    }
    return [LeasedSend._make(row) for row in await _fetch(database, _REFILL, parameters, tuple_row)]


async def stale_servers(database: Database, seconds: float) -> list[uuid.UUID]:
    """Return servers that have leased sends older than so many seconds."""
    return [row["id"] for row in await _fetch(database, _STALE, {"seconds": seconds})]


async def servers_with_expired_leases(database: Database, tolerance_seconds: int) -> list[uuid.UUID]:
    """Return servers with leases that ran out longer ago than the tolerance."""
    return [row["id"] for row in await _fetch(database, _EXPIRED, {"tolerance_seconds": tolerance_seconds})]


async def reclaim(
    database: Database, tolerance_seconds: int, gone_before: Mapping[uuid.UUID, Sequence[str]] = MappingProxyType({})
) -> int:
    """Take back leases that ran out longer ago than the tolerance, and return how many.

    `gone_before` tells what the servers have taken from their streams, by priority; without it no lease counts as
    silent.
    """
    known = [
        (vps_id, priority, deadline)
        for vps_id, all_of in gone_before.items()
        for priority, deadline in enumerate(all_of)
    ]
    parameters = {
        "vps_ids": [vps_id for vps_id, _, _ in known],
        "priorities": [priority for _, priority, _ in known],
        "gone_before": [deadline for _, _, deadline in known],
        "tolerance_seconds": tolerance_seconds,
        "most_silent": MOST_SILENT_LEASES,
        "page": _RECLAIM_PAGE,
    }
    rows = await _fetch(database, _RECLAIM, parameters)
    if dead := sum(row["kind"] == "dead" for row in rows):
        _log.error("%d sends are dead letters: their servers took them and never told of them", dead)
    return len(rows)


async def end_homeless(database: Database) -> int:
    """End sends that wait at removed inboxes and servers, so many at a time, and return how many."""
    return len(await _fetch(database, _SWEEP_HOMELESS, {"page": _RECLAIM_PAGE}))


async def end_unheard(database: Database, seconds: float) -> int:
    """End sends that Postfix has had for so many seconds, or had when its server was removed; return how many."""
    return len(await _fetch(database, _SWEEP_RELAYED, {"seconds": seconds, "page": _RECLAIM_PAGE}))


async def end_silent(database: Database, seconds: float) -> int:
    """End sends that wait, or are dead, and of which their servers have been silent for so many seconds."""
    return len(await _fetch(database, _SWEEP_SILENT, {"seconds": seconds, "page": _RECLAIM_PAGE}))


@overload
async def _fetch(
    database: Database, statement: bytes, parameters: Mapping[str, Any], *, lookups_only: bool = False
) -> list[DictRow]: ...


@overload
async def _fetch(
    database: Database,
    statement: bytes,
    parameters: Mapping[str, Any],
    row_factory: AsyncRowFactory[TupleRow],
    *,
    lookups_only: bool = False,
) -> list[TupleRow]: ...


async def _fetch(
    database: Database,
    statement: bytes,
    parameters: Mapping[str, Any],
    row_factory: AsyncRowFactory[Any] = dict_row,
    *,
    lookups_only: bool = False,
) -> list[Any]:
    async with database.engine.connect() as pooled:
        connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        if not isinstance(driver, psycopg.AsyncConnection):
            raise TypeError("the queuer needs psycopg's asyncio driver")
        # `info` is the connection's own and lives as long as it does.
        if lookups_only and _PLANNED not in raw.info:
            await driver.execute(_PLAN_LOOKUPS_ONLY)
            raw.info[_PLANNED] = True
        async with driver.cursor(binary=True, row_factory=row_factory) as cursor:
            await cursor.execute(statement, parameters, prepare=lookups_only)
            return await cursor.fetchall()
