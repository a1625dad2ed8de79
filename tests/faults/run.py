"""One run: the client sends while the faults of the plan strike; then all must end, and the checker judges."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
from redis.exceptions import RedisError

from control_plane.providers.base import ProviderError
from tests.faults.blows import strike
from tests.faults.checker import FINAL, Facts, Row, Verdict, check
from tests.faults.client import Client
from tests.faults.ground import TOLERANCE_SECONDS, Ground
from tests.faults.plan import Fault, Order, Plan

#: Seconds from the last fault until every send must be final.
PATIENCE = 120.0
_LOOK = 0.25
_FLUSH = 1.0
#: Seconds given to copies that nobody asked for, after all is final.
_AFTERMATH = 0.3

_ROWS = """
SELECT id::text, recipient, '<' || id || '@' || signing_domain || '>', state,
       encode(sha256(substring(payload FROM position('\\x0d0a0d0a'::bytea IN payload) + 4)), 'hex'),
       coalesce(extract(epoch FROM lease_deadline), 0)::float
FROM messages WHERE starts_with(subject, %s)
"""
#: Of these Message-IDs, those of other runs: what they left may still come.
_OTHERS = """
SELECT '<' || id || '@' || signing_domain || '>' FROM messages
WHERE id::text = ANY(%s) AND NOT starts_with(subject, %s)
"""
_OPEN = "SELECT count(*) FROM messages WHERE starts_with(subject, %s) AND NOT state = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; seconds of wall clock."""

    verdict: Verdict
    seconds: float
    #: Of them, from the end of the last fault until all was final.
    settling_seconds: float
    refused: int
    unanswered: int
    #: The faults that struck; one whose victim is down already does not.
    struck: tuple[Fault, ...]


async def run_plan(ground: Ground, plan: Plan) -> Outcome:
    """Run a plan and judge."""
    started = time.monotonic()
    run = f"run-{secrets.token_hex(4)}"
    before = journal_size(ground)
    client = Client(ground.sender.client, ground.inbox_id, run)
    struck = await _send_under_blows(ground, plan, client)
    ended = time.monotonic()
    await until_final(ground, run, PATIENCE)
    settled = time.monotonic()
    await asyncio.sleep(_AFTERMATH)
    # While the server's clock is wrong its leases last as much longer, and the control plane waits for that.
    slack = float("inf") if {Fault.CLOCK_AHEAD, Fault.CLOCK_BEHIND}.intersection(struck) else TOLERANCE_SECONDS
    facts = await gather_facts(ground, run, client.accepted, before, lease_slack=slack)
    return Outcome(
        verdict=check(facts),
        seconds=time.monotonic() - started,
        settling_seconds=settled - ended,
        refused=len(client.refused),
        unanswered=client.repeated,
        struck=tuple(struck),
    )


async def _send_under_blows(ground: Ground, plan: Plan, client: Client) -> list[Fault]:
    """Send everything while the faults strike, one after the other; return those that did."""
    reached = [asyncio.Event() for _ in plan.blows]
    struck: list[Fault] = []

    def progress(total: int) -> None:
        for blow, event in zip(plan.blows, reached, strict=True):
            if total >= blow.at:
                event.set()

    async def strike_all() -> None:
        for blow, event in zip(plan.blows, reached, strict=True):
            await event.wait()
            try:
                await strike(ground, blow)
            except (LookupError, ProviderError, RedisError, psutil.NoSuchProcess):
                continue
            struck.append(blow.fault)

    progress(0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(strike_all())
        tasks.create_task(client.send_all(plan.orders, progress))
    return struck


async def until_final(ground: Ground, run: str, seconds: float) -> None:
    """Wait until all sends of a run are final, at most so long; what Postfix has deferred is tried again at once."""
    deadline = time.monotonic() + seconds
    flushed = 0.0
    while time.monotonic() < deadline:
        if (await ground.rows(_OPEN, [f"{run} ", list(FINAL)]))[0][0] == 0:
            return
        if time.monotonic() - flushed > _FLUSH:
            flushed = time.monotonic()
            with contextlib.suppress(Exception):
                await ground.inside("postqueue", "-f", check=False)
        await asyncio.sleep(_LOOK)


async def gather_facts(
    ground: Ground,
    run: str,
    accepted: Mapping[str, Order],
    journal_from: int,
    *,
    withdrawn: frozenset[str] = frozenset(),
    lease_slack: float = TOLERANCE_SECONDS,
) -> Facts:
    """Return everything known of a run. `lease_slack` is added to the end of leases, in seconds."""
    found = await ground.rows(_ROWS, [f"{run} "])
    rows = [_row(*row, lease_slack) for row in found]
    copies = ground.copies(journal_from)
    strange = {copy.message_id for copy in copies} - {row.message_id for row in rows}
    ids = [message_id.strip("<").partition("@")[0] for message_id in strange]
    others = {str(message_id) for (message_id,) in await ground.rows(_OTHERS, [ids, f"{run} "])}
    return Facts(accepted, rows, [copy for copy in copies if copy.message_id not in others], withdrawn)


def _row(*columns: object) -> Row:
    send_id, recipient, message_id, state, body_sha256, deadline, slack = map(str, columns)
    return Row(send_id, recipient, message_id, state, body_sha256, float(deadline) + float(slack))


def journal_size(ground: Ground) -> int:
    """Return where the sink's journal ends now."""
    return ground.sink_journal.stat().st_size if ground.sink_journal.exists() else 0
