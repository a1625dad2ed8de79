"""The tenants' door with three tenants behind it, and those of one of them who attack the others."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.rest.access import Open
from control_plane.tenancy.permissions import Permission, permissions_within
from db.session import Database
from tests.attack.door import Caller, Door, make_key, open_door
from tests.attack.ground import Ground, make_ground
from tests.attack.operations import Operation
from tests.attack.walk import Case, ids_named, judge
from tests.fakes.submission_server import running_submission_server
from tests.integration.database import FreshDatabase, fresh_database


@dataclass(frozen=True, slots=True)
class Attack:
    door: Door
    database: Database
    owner: Caller
    person: Caller

    def caller_for(self, operation: Operation) -> Caller:
        return self.person if operation.opens_to == Open.PERSON.value else self.owner

    async def findings(
        self, cases: Iterable[Case], expected: tuple[int, ...], headers: dict[str, str] | None = None
    ) -> list[str]:
        """Send cases as whoever may do most there; return what is found."""
        return [
            finding
            for case in cases
            async for finding in judge(self.door, self.caller_for(case.operation), case, expected, headers)
        ]

    async def findings_of_ids(self, cases: Iterable[Case]) -> list[str]:
        """Send cases with ids in queries or bodies, where a cursor is another thing than an id."""
        each = list(cases)
        cursors = [case for case in each if case.is_cursor]
        ids = [case for case in each if not case.is_cursor]
        taken = (200,) if any(case.query for case in each) else ()
        return [*await self.findings(cursors, (400,)), *await self.findings(ids, (*taken, 404, 409, 422))]

    @property
    def theirs(self) -> set[object]:
        """The victim's ids, of each kind that the door knows."""
        return ids_named(self.tenants, self.door.ground.victim)

    @property
    def tenants(self) -> Iterator[Operation]:
        """The operations that are about somebody's things: all but those that are open to anybody."""
        return (each for each in self.door.operations if each.opens_to != Open.ANYBODY.value)


@asynccontextmanager
async def attacking(
    cluster: EmbeddedPostgres,
    redis_server: EmbeddedRedis,
    state: Path,
    role: str,
    make: Callable[[FreshDatabase], Ground] = make_ground,
) -> AsyncIterator[Attack]:
    """Open the door as a database role, and see in the end that no row of the others is another."""
    with fresh_database(cluster) as fresh:
        ground, system = make(fresh), Database(fresh.url("penguin_system"))
        async with running_submission_server() as sink:
            settings = {"state_dir": state, "redis_url": redis_server.url, "mail_url": sink.url}
            async with open_door(ground, settings, role) as door:
                before = [ground.sums_of(rows) for rows in (ground.victim, ground.bystander)]
                there = ground.attacker.values["api_keys", "workspaces"]
                key = await make_key(system, ground.attacker, None, workspaces=there and frozenset(there))
                owner = Caller("owner (key)", key, permissions_within(there, frozenset(Permission)))
                yield Attack(door, system, owner, await door.person(ground.attacker))
                assert [ground.sums_of(rows) for rows in (ground.victim, ground.bystander)] == before
        await system.close()
