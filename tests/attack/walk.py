"""Walk all that a door offers with the ids of another tenant, and say what is found.

Each answer is held against that to an id which nothing has: the status, the body, the headers and the statements made
for it must be the same, or it shows what there is. And it may show nothing of the other tenant that was not sent.
"""

import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.attack.door import Answer, Caller, Door
from tests.attack.kinds import id_of
from tests.attack.operations import Operation, with_value
from tests.attack.rows import Rows
from tests.attack.sql_attacks import neighbour, traces

Path = Mapping[str, object]

#: Said before an id is looked at.
_BEFORE_IDS = (401, 403)


@dataclass(frozen=True, slots=True)
class Case:
    """One request with somebody else's id, and the same with nobody's."""

    operation: Operation
    sent: object
    nobodys: object
    path: Path
    nobodys_path: Path
    body: Any = None
    nobodys_body: Any = None
    query: Mapping[str, str] | None = None
    nobodys_query: Mapping[str, str] | None = None

    @property
    def is_cursor(self) -> bool:
        """Whether the id is sent as what a list goes on after."""
        return (self.query or self.body or {}).get("after") == str(self.sent)


def unlike(value: object) -> object:
    """Return what is of the same form, stands in the same place of every order, and names nothing."""
    return neighbour(value) if isinstance(value, uuid.UUID) else f"x{value}"


def ids_named(operations: Iterable[Operation], rows: Rows) -> set[object]:
    """Return a tenant's ids of each kind that a path or a body of these operations names: no other is ever shown."""
    names = {name for operation in operations for name in operation.names}
    names |= {_named(place) for operation in operations for place in operation.places}
    return {id_of(rows, name) for name in names}


def path_cases(operation: Operation, attacker: Rows, victim: Rows, others: Collection[object] = ()) -> Iterator[Case]:
    """Yield the other tenant's ids in each parameter of a path: the one of its kind, and others."""
    theirs = {name: id_of(victim, name) for name in operation.names}
    own = {name: id_of(attacker, name) for name in operation.names}
    nobodys = {name: unlike(value) for name, value in theirs.items()}
    if len(operation.names) > 1:
        yield _path_case(operation, theirs, nobodys, operation.names[-1])
    for name in operation.names:
        values = {theirs[name], *others}
        for value in values:
            yield _path_case(operation, own | {name: value}, own | {name: nobodys[name]}, name)


def _path_case(operation: Operation, path: Path, nobodys: Path, name: str) -> Case:
    return Case(operation, path[name], nobodys[name], path, nobodys, operation.body, operation.body)


def body_cases(operation: Operation, attacker: Rows, victim: Rows, others: Collection[object]) -> Iterator[Case]:
    """Yield the other tenant's ids in each place of a body that may hold one, below one's own path."""
    own = {name: id_of(attacker, name) for name in operation.names}
    for place in operation.places:
        for value in {id_of(victim, _named(place)), *others}:
            bodies = [with_value(operation.body, place, str(each)) for each in (value, unlike(value))]
            yield Case(operation, value, unlike(value), own, own, *bodies)


def query_cases(operation: Operation, attacker: Rows, others: Collection[object]) -> Iterator[Case]:
    """Yield the other tenant's ids as filters and cursors, below one's own path."""
    own = {name: id_of(attacker, name) for name in operation.names}
    for name in operation.queries:
        for value in others:
            queries = [{name: str(each)} for each in (value, unlike(value))]
            yield Case(
                operation, value, unlike(value), own, own, operation.body, operation.body, queries[0], queries[1]
            )


def _named(place: tuple[str | int, ...]) -> str:
    """Return the property that a place in a body is in."""
    return next(str(step) for step in reversed(place) if isinstance(step, str))


async def judge(
    door: Door, caller: Caller, case: Case, expected: Sequence[int], headers: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Send a case and yield what is found. Statuses other than the expected, and any difference, are findings."""
    operation = case.operation
    theirs = await door.ask(caller, operation, case.path, body=case.body, query=case.query, headers=headers)
    if theirs.status in _BEFORE_IDS:
        return
    nobodys = await _to_nobodys(door, caller, case, headers)
    where = f"{operation} for {caller.name}"
    if theirs.status not in expected:
        yield f"{where} answers {theirs.status} to {case.sent}: {theirs.text[:300]}"
    for trace in traces(door.ground.victim, f"{theirs.text} {theirs.headers}"):
        if trace not in f"{case.path} {case.body} {case.query}":
            yield f"{where} shows {trace}: {theirs.text[:300]}"
    seen, unseen = (answer.without(sent) for answer, sent in ((theirs, case.sent), (nobodys, case.nobodys)))
    if caller.is_person:
        # Whether a session goes on is asked of Redis or PostgreSQL as time goes by.
        seen, unseen = (replace(each, statements=()) for each in (seen, unseen))
    if seen != unseen:
        yield f"{where} tells {case.sent} from what nobody has: {_difference(seen, unseen)}"


async def _to_nobodys(door: Door, caller: Caller, case: Case, headers: Mapping[str, str] | None) -> Answer:
    """Return what is answered to nobody's id; once for all ids that it stands for, since it changes nothing."""
    request = str((caller.name, case.operation, case.nobodys_path, case.nobodys_body, case.nobodys_query, headers))
    if request not in door.to_nobodys:
        door.to_nobodys[request] = await door.ask(
            caller, case.operation, case.nobodys_path, body=case.nobodys_body, query=case.nobodys_query, headers=headers
        )
    return door.to_nobodys[request]


def _difference(one: Answer, other: Answer) -> str:
    return f"{one} / {other}"[:1500]
