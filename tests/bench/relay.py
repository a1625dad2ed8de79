"""`relay`: the whole path, signed, from rows in PostgreSQL to events in PostgreSQL, beside smtp-source, unsigned, into
the same Postfix; delivered means that the sink has taken it.
"""

import asyncio
import subprocess
import time

from tests.bench.ground import RECIPIENT, SENDER, Deliveries, Ground, running_ground
from tests.bench.report import Goal, Rounds
from tests.bench.text import ANY_ID, SIZE, message

_SENDS = 2000
_LOG = "var/log/mail.log"
_PATIENCE = 60.0
#: Those through which a message or its events go; the sum counts the others too.
_PROCESSES = ("penguin-agent", "hub", "queuer")

#: The agent knows a send in the mail log by its Message-ID, which therefore holds its own id.
_ACCEPT = """
WITH made AS (
    SELECT gen_random_uuid() AS id FROM generate_series(1, %(count)s)
), inserted AS (
    INSERT INTO messages (tenant_id, id, workspace_id, inbox_id, vps_id, envelope_sender, recipient, signing_domain,
                          subject, payload, send_at)
    SELECT i.tenant_id, made.id, i.workspace_id, i.id, i.vps_id, i.email_address, %(recipient)s, 'acme.example',
           'Fish', convert_to(replace(%(message)s, %(any_id)s, made.id::text), 'UTF8'), now()
    FROM inboxes i CROSS JOIN made
    WHERE i.email_address = %(sender)s
    RETURNING 1
)
SELECT count(*), pg_notify('sends_ready', '') FROM inserted
"""
_COMMITTED = "SELECT count(*) FROM messages WHERE state = 'delivered'"


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    async with running_ground() as ground:
        for _ in range(rounds):
            await _limit(ground, result)
            await _path(ground, result)
    result.compare("delivered ÷ smtp-source", "path, delivered/s", "smtp-source, delivered/s", Goal(0.8))
    result.compare("events committed ÷ delivered", "path, events committed/s", "path, delivered/s", Goal(0.98))
    result.hold("CPU of all Python, ms per message", "path, Python CPU ms per message", Goal(0.8, at_most=True))
    result.notes.append(f"{_SENDS} messages of 5 KB in each turn; ten sessions on both sides; sink: smtp-sink")
    return result


async def _limit(ground: Ground, result: Rounds) -> None:
    deliveries = Deliveries(ground.root / _LOG)
    started = time.perf_counter()
    source = await asyncio.create_subprocess_exec(*ground.source(_SENDS, SIZE), stdout=subprocess.DEVNULL)
    ended = await deliveries.until(_SENDS)
    await source.wait()
    result.add("smtp-source, delivered/s", _SENDS / (ended - started))


async def _path(ground: Ground, result: Rounds) -> None:
    await asyncio.to_thread(ground.query, "DELETE FROM messages RETURNING 1")
    deliveries = Deliveries(ground.root / _LOG)
    row: dict[str, object] = {
        "sender": SENDER,
        "recipient": RECIPIENT,
        "message": message(SIZE, "acme.example").decode("ascii"),
        "any_id": str(ANY_ID),
        "count": _SENDS,
    }
    before = ground.python_seconds()
    started = time.perf_counter()
    ground.query(_ACCEPT, row)
    delivered = await deliveries.until(_SENDS)
    committed = await _all_committed(ground)
    used = {name: seconds - before.get(name, 0.0) for name, seconds in ground.python_seconds().items()}
    result.add("path, delivered/s", _SENDS / (delivered - started))
    result.add("path, events committed/s", _SENDS / (committed - started))
    result.add("path, Python CPU ms per message", sum(used.values()) / _SENDS * 1000)
    for name in (f"{process}, {kind}" for process in _PROCESSES for kind in ("user", "system")):
        result.add(f"{name}, CPU ms per message", used[name] / _SENDS * 1000)


async def _all_committed(ground: Ground) -> float:
    deadline = time.monotonic() + _PATIENCE
    while (count := await asyncio.to_thread(ground.query, _COMMITTED)) < _SENDS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} of {_SENDS} are delivered by the database")
        await asyncio.sleep(0.02)
    return time.perf_counter()
