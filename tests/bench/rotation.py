"""`rotation`: whether a request fails while all keys change under load.

Two api processes, as deployed but for their clock, which runs faster; fifty people of fifty tenants read at the one and
write at the other all the time, and get new tokens when their access token ends. Meanwhile the key that signs access
tokens changes again and again, and `penguin keys rotate` has all else sealed anew. What a request takes is held against
the same load while no key changes, measured right before.
"""

import asyncio
import statistics
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from typer.testing import CliRunner

from control_plane.cli.main import app
from control_plane.clock import utc_now
from control_plane.data_keys.rotation import Progress, advance_rotation, progress_of
from control_plane.people.signing_keys import rotate
from control_plane.sealing import Sealer
from db.session import Database
from tests.bench.api_process import running_api
from tests.bench.busy_person import Person, Tally, Town, make_person
from tests.bench.hurried_api import CLOCK, HurriedClock
from tests.bench.report import Goal, Rounds
from tests.bench.stores import Stores, running_stores
from tests.fakes.submission_server import running_submission_server

_API = "tests.bench.hurried_api"
#: Far longer than a round takes; whoever stands still by then makes it end.
_PATIENCE = 300.0


class KeysNotChanged(Exception):
    """`penguin keys rotate` failed; its words say why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How many people, and how often what changes in one round."""

    people: int = 50
    signing_keys: int = 4
    master_keys: int = 2
    #: How often each gets new tokens at least while keys change.
    refreshes: int = 2
    #: How many times as fast the clock runs.
    speed: float = 30.0
    pause: float = 1.0


@dataclass(frozen=True, slots=True)
class Ground:
    """All that a round is run on."""

    wish: Wish
    stores: Stores
    database: Database
    key_file: Path
    clock: HurriedClock
    people: Sequence[Person]


async def measure(rounds: int) -> Rounds:
    """Return what was seen in so many rounds."""
    result, wish = Rounds(), Wish()
    async with running_ground(wish) as ground:
        for done in range(rounds):
            print(f"penguin: round {done + 1} of {rounds}", file=sys.stderr, flush=True)
            await one_round(ground, result)
    for name in ("failed", "failed without a change"):
        result.hold(name, name, Goal(0, at_most=True))
    result.compare("p95 while keys change ÷ without", "p95, ms", "p95 without a change, ms")
    result.notes.append(
        f"{wish.people} people, each with a request to either of two api processes every {wish.pause:g} s, on"
        f" the same cores as they and PostgreSQL; a clock {wish.speed:g} times as fast, by which an access token lasts"
        " ten minutes and a key is known for one before it signs"
    )
    return result


@asynccontextmanager
async def running_ground(wish: Wish) -> AsyncIterator[Ground]:
    """Run the stores and the processes, and have the people sign up."""
    clock = HurriedClock(utc_now(), wish.speed)
    async with AsyncExitStack() as open_until_then:
        stores = open_until_then.enter_context(running_stores())
        directory = Path(open_until_then.enter_context(tempfile.TemporaryDirectory(prefix="penguin-bench-keys-")))
        key_file = directory / "sealing.key"
        sink = await open_until_then.enter_async_context(running_submission_server())
        settings = {CLOCK: str(clock), "PENGUIN_SEALING_KEY_FILE": str(key_file), "PENGUIN_MAIL_URL": sink.url}
        Sealer.of_file(key_file)
        reads, writes = [
            await open_until_then.enter_async_context(running_api(stores, _API, settings)) for _ in range(2)
        ]
        database = Database(stores.cluster.url("penguin_system"))
        open_until_then.push_async_callback(database.close)
        town = Town((reads, writes), clock, sink, database)
        # One after another: a hash of a password is meant to be slow.
        people = [await make_person(town, place) for place in range(wish.people)]
        yield Ground(wish, stores, database, key_file, clock, people)


async def one_round(ground: Ground, result: Rounds) -> None:
    """Have the people be busy without a change, until each has got new tokens, and then while keys change."""
    still = await _busy(ground, _each_refreshes(ground.people, 1))
    changing = await _busy(
        ground,
        _each_refreshes(ground.people, ground.wish.refreshes),
        _change_signing_keys(ground),
        _change_master_keys(ground),
    )
    result.add("requests", len(changing.seconds))
    result.add("refreshes", changing.refreshes)
    result.add("rotations of the signing key", ground.wish.signing_keys)
    result.add("rotations of all other keys", ground.wish.master_keys)
    result.add("values sealed anew in the last of them", (await _progress(ground.database)).resealed)
    result.add("asked again, the token had just ended", changing.too_late)
    result.add("failed", len(changing.failures))
    result.add("failed without a change", len(still.failures))
    result.add("p95, ms", _p95_ms(changing))
    result.add("p95 without a change, ms", _p95_ms(still))
    result.notes.extend((still.failures + changing.failures)[:5])


async def _busy(ground: Ground, *until: Coroutine[None, None, None]) -> Tally:
    """Have all be busy until these are done; return what they saw."""
    tally = Tally(pause=ground.wish.pause)
    for person in ground.people:
        person.tally = tally
    async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
        for person in ground.people:
            group.create_task(person.read_on())
            group.create_task(person.write_on())
        async with asyncio.TaskGroup() as awaited:
            for each in until:
                awaited.create_task(each)
        tally.over = True
    return tally


async def _each_refreshes(people: Sequence[Person], times: int) -> None:
    wanted = [person.refreshes + times for person in people]
    await _until(people, lambda: all(person.refreshes >= each for person, each in zip(people, wanted, strict=True)))


async def _change_signing_keys(ground: Ground) -> None:
    """Rotate, as `penguin keys rotate-signing` does, and go on when somebody has a token that the new key signed."""
    sealer = Sealer.of_file(ground.key_file)
    for _ in range(ground.wish.signing_keys):
        async with ground.database.system() as session:
            key_id = str((await rotate(session, sealer, ground.clock())).id)
        await _until(ground.people, partial(_is_borne, ground.people, key_id))


def _is_borne(people: Sequence[Person], key_id: str) -> bool:
    return any(person.tokens.key_id == key_id for person in people)


async def _change_master_keys(ground: Ground) -> None:
    """Ask for a change of all keys, and do what the worker does until it is done."""
    sealer = Sealer.of_file(ground.key_file)
    for _ in range(ground.wish.master_keys):
        await _rotate_keys(ground)
        while (await _progress(ground.database)).finished_at is None:
            await advance_rotation(ground.database, sealer)


async def _rotate_keys(ground: Ground) -> None:
    # Of no installation that there may be: the database is the one in the environment.
    words = [
        "keys",
        "rotate",
        "--key-file",
        str(ground.key_file),
        "--instance",
        f"bench-{uuid.uuid4().hex[:8]}",
        "--json",
    ]
    where = {"PENGUIN_SYSTEM_DATABASE_URL": ground.stores.cluster.url("penguin_system")}
    # In a thread of this process: a process of its own would begin by taking the processors from the load for seconds.
    done = await asyncio.to_thread(CliRunner().invoke, app, words, env=where)
    if done.exit_code:
        raise KeysNotChanged(done.output)


async def _progress(database: Database) -> Progress:
    async with database.system() as session:
        return await progress_of(session)


async def _until(people: Sequence[Person], holds: Callable[[], bool]) -> None:
    """Return when it holds; it is looked at whenever somebody gets new tokens."""
    renewed = people[0].tally.renewed
    async with renewed:
        await renewed.wait_for(holds)


def _p95_ms(tally: Tally) -> float:
    return statistics.quantiles(tally.seconds, n=20)[-1] * 1000
