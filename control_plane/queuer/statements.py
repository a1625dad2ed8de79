"""The queuer's statements, each in a file of its own and each a transaction of its own.

They run in autocommit on psycopg itself: one round trip, no lock held while the queuer thinks, and message bodies in
binary. They are planned anew each time, since a plan made for an empty table is ruinous for a full one.
"""

import uuid
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from control_plane.queuer.allot import Line
from control_plane.queuer.leased_send import LeasedSend
from db.session import Database

_SQL = resources.files("control_plane.queuer")
_WAITING = _SQL.joinpath("waiting.sql").read_bytes()
_CLAIM = _SQL.joinpath("claim.sql").read_bytes()
_REFILL = _SQL.joinpath("refill.sql").read_bytes()
_STALE = _SQL.joinpath("stale.sql").read_bytes()
_RECLAIM = _SQL.joinpath("reclaim.sql").read_bytes()
#: Servers whose agents read their streams, or are about to.
_SERVERS = b"SELECT id FROM vps_servers WHERE status IN ('provisioning', 'ready') AND banned_at IS NULL"

#: A claim ends with the send that reaches this many bytes of messages.
MOST_BYTES = 16 * 1024 * 1024
#: Messages may have 10 MB each.
_REFILL_PAGE = 50
_RECLAIM_PAGE = 500
_BEFORE_ALL = uuid.UUID(int=0)


async def servers(database: Database) -> list[uuid.UUID]:
    """Return the servers that must have streams."""
    return [row["id"] for row in await _fetch(database, _SERVERS, {})]


async def waiting_lines(database: Database) -> list[Line]:
    """Return which lines have waiting sends, due or not, at servers that may be leased to."""
    return [Line(row["vps_id"], row["priority"]) for row in await _fetch(database, _WAITING, {})]


async def claim(database: Database, rooms: Mapping[Line, int], lease_seconds: int) -> list[LeasedSend]:
    """Lease sends and return them, committed, in the order in which they are to be taken."""
    parameters = {
        "vps_ids": [line.vps_id for line in rooms],
        "priorities": [line.priority for line in rooms],
        "rooms": list(rooms.values()),
        "lease_seconds": lease_seconds,
        "most_bytes": MOST_BYTES,
    }
    rows = await _fetch(database, _CLAIM, parameters)
    rows.sort(key=lambda row: (row["priority"], row.pop("turn")))
    return [LeasedSend(**row) for row in rows]


async def leased_sends(database: Database, vps_id: uuid.UUID, after: uuid.UUID = _BEFORE_ALL) -> Sequence[LeasedSend]:
    """Return the next page of a server's leased sends by id; an empty one comes after the last."""
    parameters = {"vps_id": vps_id, "after": after, "page": _REFILL_PAGE}
    return [LeasedSend(**row) for row in await _fetch(database, _REFILL, parameters)]


async def stale_servers(database: Database, seconds: float) -> list[uuid.UUID]:
    """Return servers that have leased sends older than so many seconds."""
    return [row["id"] for row in await _fetch(database, _STALE, {"seconds": seconds})]


async def reclaim(database: Database, tolerance_seconds: int) -> int:
    """Take back leases that ran out longer ago than the tolerance, and return how many."""
    parameters = {"tolerance_seconds": tolerance_seconds, "page": _RECLAIM_PAGE}
    return len(await _fetch(database, _RECLAIM, parameters))


async def _fetch(database: Database, statement: bytes, parameters: Mapping[str, Any]) -> list[DictRow]:
    async with database.engine.connect() as pooled:
        connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
        driver = (await connection.get_raw_connection()).driver_connection
        if not isinstance(driver, psycopg.AsyncConnection):
            raise TypeError("the queuer needs psycopg's asyncio driver")
        async with driver.cursor(binary=True, row_factory=dict_row) as cursor:
            await cursor.execute(statement, parameters, prepare=False)
            return await cursor.fetchall()
