"""`latency`: from the API's 202 to Postfix's acceptance, with the system idle and beside other servers' backlog.

A million sends wait for ten servers without an agent: their streams fill, and the rest stays in PostgreSQL, where the
queuer must look past it. They are written straight into the table, with short messages.
"""

import asyncio
import statistics
import time
import uuid
from datetime import datetime

import psycopg

from tests.bench.ground import RECIPIENT, Ground, running_ground
from tests.bench.report import Goal, Rounds
from tests.bench.text import SIZE, message, words
from tests.flow.spine import call

_SENDS = 40
_PAUSE = 0.05
_BACKLOG = 1_000_000
_OTHERS = 10
_SHORT = 300
_PATIENCE = 60.0
#: Seconds in which nothing is leased when the streams are full.
_STILL = 2.0
_STEPS = ("p50", "p95")

_SERVER = """
INSERT INTO vps_servers (id, tenant_id, workspace_id, provider, ip_address, hostname, size, region, status,
                         probe_password_sealed)
SELECT %(vps)s, tenant_id, workspace_id, 'none', '192.0.2.1', %(vps)s::text || '.penguin.example', 'starter', 'none',
       'ready', 'none' FROM vps_servers LIMIT 1
"""
_INBOX = """
INSERT INTO inboxes (id, tenant_id, workspace_id, domain_id, email_address, vps_id, password_hash, status,
                     daily_send_limit)
SELECT %(inbox)s, tenant_id, workspace_id, domain_id, %(inbox)s::text || '@acme.example', %(vps)s, 'none', 'ready',
       1000000000 FROM inboxes LIMIT 1
"""
_WAITING = """
INSERT INTO messages (tenant_id, id, workspace_id, inbox_id, vps_id, envelope_sender, recipient, signing_domain,
                      subject, payload, send_at)
SELECT i.tenant_id,
       (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(i.id::text), 1, 3)
        || '8' || substr(md5(i.id::text || n), 1, 15))::uuid,
       i.workspace_id, i.id, i.vps_id, i.email_address, 'b@sink.example', 'acme.example', 'Fish', %(payload)s, now()
FROM inboxes i CROSS JOIN generate_series(1, %(count)s) AS n WHERE i.id = %(inbox)s
"""
_LEASED = "SELECT count(*) FROM messages WHERE state = 'queued'"
_RELAYED = "SELECT id, relayed_at FROM messages WHERE id = ANY(%(ids)s) AND relayed_at IS NOT NULL"


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    async with running_ground() as ground:
        for _ in range(rounds):
            await _measure_one(ground, "idle", result)
        started = time.perf_counter()
        await asyncio.to_thread(_make_backlog, ground)
        result.notes.append(f"{_BACKLOG:,} sends of others, made in {time.perf_counter() - started:.0f} s")
        result.add("streams of the others full after, s", await _settled(ground))
        for _ in range(rounds):
            await _measure_one(ground, "backlog", result)
    for step, goal in zip(_STEPS, (15.0, 50.0), strict=True):
        result.hold(f"idle {step}, ms", f"idle {step}, ms", Goal(goal, at_most=True))
        result.compare(f"backlog ÷ idle, {step}", f"backlog {step}, ms", f"idle {step}, ms", Goal(2.0, at_most=True))
    result.notes.append(f"{_SENDS} sends a round, {_PAUSE * 1000:.0f} ms apart; one clock, for all is on one machine")
    return result


async def _settled(ground: Ground) -> float:
    """Wait until the others' streams are full and nothing more is leased; return the seconds that took."""
    started, before = time.monotonic(), -1
    while (leased := await asyncio.to_thread(ground.query, _LEASED)) != before or not leased:
        if time.monotonic() - started > _PATIENCE:
            raise TimeoutError(f"the queuer does not come to rest: {leased} are leased")
        before = leased
        await asyncio.sleep(_STILL)
    return time.monotonic() - started


async def _measure_one(ground: Ground, name: str, result: Rounds) -> None:
    order = {"to": RECIPIENT, "subject": "Fish", "text": words(SIZE - 450)}
    path = f"/inboxes/{ground.party.inbox['id']}/messages"
    told: dict[uuid.UUID, float] = {}
    for _ in range(_SENDS):
        answer = await call(ground.party.client, "POST", path, order)
        told[uuid.UUID(answer["id"])] = time.time()
        await asyncio.sleep(_PAUSE)
    relayed = await _relayed(ground, list(told))
    # Postfix may have it before the client has read the answer.
    waits = [max(0.0, relayed[send].timestamp() - at) * 1000 for send, at in told.items()]
    cuts = statistics.quantiles(waits, n=20)
    result.add(f"{name} p50, ms", statistics.median(waits))
    result.add(f"{name} p95, ms", cuts[-1])


async def _relayed(ground: Ground, ids: list[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = await asyncio.to_thread(_look, ground, ids)
        if len(found) == len(ids):
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} of {len(ids)} were relayed")
        await asyncio.sleep(0.2)


def _look(ground: Ground, ids: list[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    with psycopg.connect(ground.owner_url, autocommit=True) as connection:
        return dict(connection.execute(_RELAYED, {"ids": ids}).fetchall())


def _make_backlog(ground: Ground) -> None:
    with psycopg.connect(ground.owner_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for _ in range(_OTHERS):
            row = {"vps": uuid.uuid4(), "inbox": uuid.uuid4(), "payload": message(_SHORT)}
            connection.execute(_SERVER, row)
            connection.execute(_INBOX, row)
            connection.execute(_WAITING, row | {"count": _BACKLOG // _OTHERS})
        connection.execute("ANALYZE messages")
