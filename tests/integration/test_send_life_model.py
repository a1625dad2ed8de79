"""A model of the send's life against the real SQL, the real journal and a real Redis.

`PENGUIN_MODEL_EXAMPLES=2000 ./penguin test integration -k send_life_model` looks further than the suite
does; `--hypothesis-seed` repeats a run.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from agent.journal import Arrival
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.queuer import statements
from control_plane.queuer.streams import connect
from db.session import Database
from tests.integration.database import FreshDatabase, make_tenant
from tests.integration.mail_rows import make_server
from tests.integration.send_life.clock import ModelClock
from tests.integration.send_life.machine import Parts, SendLife

EXAMPLES = int(os.environ.get("PENGUIN_MODEL_EXAMPLES", "20"))

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=50,
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def machine(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[type[SendLife]]:
    ModelClock.install(database)
    # A loop of its own: the machine's steps are plain functions.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        parts = runner.run(_open(runner, database, redis_server, tmp_path))
        try:
            yield type("SendLife", (SendLife,), {"parts": parts})
        finally:
            runner.run(_close(parts))


async def _open(runner: asyncio.Runner, database: FreshDatabase, redis: EmbeddedRedis, folder: Path) -> Parts:
    system = Database(database.url("penguin_system"))
    tenant = await make_tenant(system, "Penguin Post")
    return Parts(
        runner=runner,
        api=Database(database.url("penguin_api")),
        system=system,
        queuers=tuple(Database(database.url("penguin_system"), pool_size=1) for _ in range(3)),
        redis=connect(redis.url),
        tenant=tenant,
        vps_ids=(await make_server(system, tenant), await make_server(system, tenant)),
        folder=folder,
    )


async def _close(parts: Parts) -> None:
    await parts.redis.aclose()
    for database in (parts.api, parts.system, *parts.queuers):
        await database.close()


@pytest.mark.timeout(900)
def test_no_order_of_events_breaks_a_promise(machine: type[SendLife]) -> None:
    run_state_machine_as_test(machine, settings=SETTINGS)


def sql(name: str, old: bytes, new: bytes) -> tuple[str, object]:
    """Return the name of a statement of the queuer, and the statement with one thing replaced."""
    whole: bytes = getattr(statements, name)
    assert whole.count(old) == 1
    return f"control_plane.queuer.statements.{name}", whole.replace(old, new)


#: Those that are found within a few examples; others need more.
MUTANTS: Mapping[str, Callable[[], tuple[str, object]]] = {
    "the journal takes what it knows": lambda: ("agent.journal.sends.on_arrival", lambda *_: Arrival.TAKE),
    "envelopes are written again under another lease": lambda: sql(
        "_REFILL", b"m.lease_token,", b"gen_random_uuid() AS lease_token,"
    ),
    "suppression is not looked at": lambda: sql("_CLAIM", b"s.removed_at IS NULL", b"false"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_part_that_breaks_its_word_is_found_out(
    machine: type[SendLife], mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*MUTANTS[mutant]())
    only_look = settings(SETTINGS, max_examples=200, phases=[Phase.generate], database=None, derandomize=True)

    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=only_look)
