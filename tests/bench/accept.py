"""`accept`: what the API takes in, beside the database alone and beside the same application without a database.

The api process is the product's, with one more route; requests come over keep-alive connections from this process,
which shares the cores with it and with PostgreSQL.
"""

import json
import time
from datetime import UTC, datetime

import psycopg

from control_plane.embedded.postgres import OWNER
from db.ids import uuid7
from tests.bench.api_process import running_api
from tests.bench.http_load import post_all
from tests.bench.report import Goal, Rounds
from tests.bench.stores import Fleet, running_fleet, running_stores
from tests.bench.text import SIZE, message, words

_SINGLE = 2000
_SINGLE_CONNECTIONS = 20
_BATCHES = 10
_BATCH = 1000
_BATCH_CONNECTIONS = 2
_COLUMNS = (
    "tenant_id, id, workspace_id, inbox_id, vps_id, priority, envelope_sender, recipient, signing_domain, subject,"
    " payload, send_at"
)
_TYPES = ("uuid", "uuid", "uuid", "uuid", "uuid", "int2", "text", "text", "text", "text", "bytea", "timestamptz")


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    with running_stores() as stores:
        async with running_fleet(stores) as fleet, running_api(stores) as port:
            for _ in range(rounds):
                await _one_round(fleet, port, result)
    result.compare("bulk ÷ binary COPY", "bulk, messages/s", "COPY, rows/s", Goal(0.7))
    result.compare("single ÷ no database", "single, messages/s", "no database, requests/s", Goal(0.5))
    result.notes.append(
        f"one api process; {_BATCH_CONNECTIONS} connections with batches of {_BATCH}, {_SINGLE_CONNECTIONS} with single"
        " messages; 5 KB; COPY in commits of the same size, by the owner, constraints checked"
    )
    return result


async def _one_round(fleet: Fleet, port: int, result: Rounds) -> None:
    key, inbox = fleet.tenant.api_key, fleet.inboxes[0].id
    text = words(SIZE - 450)
    one = {"to": "b@walrus.example", "subject": "Fish", "text": text}
    single = json.dumps(one).encode()
    many = json.dumps({"messages": [{**one, "to": f"b{n}@walrus.example"} for n in range(_BATCH)]}).encode()
    runs = (
        ("no database, requests/s", f"/bench/inboxes/{inbox}/messages", single, _SINGLE, _SINGLE_CONNECTIONS, 1),
        ("single, messages/s", f"/api/v1/inboxes/{inbox}/messages", single, _SINGLE, _SINGLE_CONNECTIONS, 1),
        ("bulk, messages/s", f"/api/v1/inboxes/{inbox}/messages:batch", many, _BATCHES, _BATCH_CONNECTIONS, _BATCH),
    )
    for name, path, body, count, connections, messages in runs:
        fleet.stores.execute("TRUNCATE messages CASCADE", "CHECKPOINT")
        seconds = await post_all(port, path, key, body, count=count, connections=connections)
        result.add(name, count * messages / seconds)
        stored = fleet.stores.count("SELECT count(*) FROM messages")
        if stored != (0 if path.startswith("/bench") else count * messages):
            raise RuntimeError(f"{name}: {stored} rows")
    fleet.stores.execute("TRUNCATE messages CASCADE", "CHECKPOINT")
    result.add("COPY, rows/s", _copy(fleet))


def _copy(fleet: Fleet) -> float:
    """Return rows per second of plain binary COPY, a commit for each batch."""
    payload, now, inbox = message(SIZE), datetime.now(UTC), fleet.inboxes[0]
    head = (inbox.tenant.workspace_id, inbox.id, inbox.vps_id, 1, "sales@penguin.example")
    tail = ("penguin.example", "Fish", payload, now)
    rows = [(inbox.tenant.id, uuid7(), *head, f"b{n % _BATCH}@walrus.example", *tail) for n in range(_BATCHES * _BATCH)]
    statement = f"COPY messages ({_COLUMNS}) FROM STDIN (FORMAT binary)".encode()
    with psycopg.connect(fleet.stores.cluster.url(OWNER), autocommit=True) as connection:
        started = time.perf_counter()
        for start in range(0, len(rows), _BATCH):
            with connection.cursor().copy(statement) as copy:
                copy.set_types(_TYPES)
                for row in rows[start : start + _BATCH]:
                    copy.write_row(row)
        return len(rows) / (time.perf_counter() - started)
