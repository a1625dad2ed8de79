"""Callers of one workspace, and another workspace of the same tenant: its ids are as those that nobody has."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation, InsufficientPrivilege
from sqlalchemy import text

from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.rest.access import Open
from control_plane.tenancy.permissions import IN_WORKSPACES, ROLES, ROLES_IN_WORKSPACES, Permission, Role
from tests.attack import sql_attacks
from tests.attack.attacking import Attack, attacking
from tests.attack.ground import Ground, make_neighbours
from tests.attack.kinds import id_of
from tests.attack.operations import Operation
from tests.attack.sql_attacks import name_tenant, traces
from tests.attack.walk import body_cases, judge, path_cases, query_cases
from tests.integration.database import fresh_database

#: What asks servers and name servers, of which there are none.
NOT_SHOWN = {"GET /vps/{vps_id}/logs", "GET /vps/{vps_id}/mail-backups", "GET /inboxes/{inbox_id}/dns-records/plan"}


@pytest.fixture(scope="module")
async def attack(
    cluster: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Attack]:
    state = tmp_path_factory.mktemp("state")
    async with attacking(cluster, redis_server, state, "penguin_api", make_neighbours) as made:
        yield made


@pytest.fixture(scope="module")
def neighbours(cluster: EmbeddedPostgres) -> Iterator[Ground]:
    with fresh_database(cluster) as fresh:
        yield make_neighbours(fresh)


@contextmanager
def standing_in_own(ground: Ground) -> Iterator[psycopg.Connection]:
    """Connect as the API's role, in a transaction that names the attacker's workspace."""
    with ground.as_role("penguin_api") as connection:
        name_tenant(connection, str(ground.attacker.id))
        own = f"{{{ground.attacker.values['workspaces', 'id']}}}"
        connection.execute("SELECT set_config('app.workspaces', %s, true)", [own])
        yield connection


def opened(attack: Attack) -> Iterator[Operation]:
    """Return the operations that open to callers of workspaces; what people do with themselves is of no workspace."""
    opens_to = {each.value for each in IN_WORKSPACES}
    return (each for each in attack.tenants if each.opens_to in opens_to)


async def test_ones_own_ids_open_what_shows_them(attack: Attack) -> None:
    attacker, unopened = attack.door.ground.attacker, []
    for operation in opened(attack):
        if operation.method == "GET" and str(operation) not in NOT_SHOWN:
            own = {name: id_of(attacker, name) for name in operation.names}
            answer = await attack.door.ask(attack.caller_for(operation), operation, own)
            unopened += [] if answer.status == 200 else [f"{operation}: {answer.status} {answer.text[:300]}"]
    assert unopened == []


async def test_what_is_the_whole_tenants_is_refused(attack: Attack) -> None:
    attacker, found = attack.door.ground.attacker, list[str]()
    refused = {each.value for each in Permission} - {each.value for each in IN_WORKSPACES}
    for operation in attack.tenants:
        if operation.opens_to in refused:
            own = {name: id_of(attacker, name) for name in operation.names}
            answer = await attack.door.ask(attack.owner, operation, own, body=operation.body)
            found += [] if answer.status == 403 else [f"{operation}: {answer.status} {answer.text[:300]}"]
    assert found == []


@pytest.mark.parametrize("wrong_kinds", [False, True], ids=["of the kind", "of all kinds"])
async def test_ids_in_paths(attack: Attack, *, wrong_kinds: bool) -> None:
    ground, theirs = attack.door.ground, attack.theirs
    cases = [
        case
        for operation in opened(attack)
        for case in path_cases(operation, ground.attacker, ground.victim, theirs if wrong_kinds else ())
    ]
    assert len(cases) > 50
    assert await attack.findings(cases, (404,)) == []


@pytest.mark.parametrize("role", sorted(ROLES_IN_WORKSPACES))
async def test_ids_in_paths_by_a_member_of_each_role(attack: Attack, role: Role) -> None:
    ground = attack.door.ground
    permissions = ROLES[role] & IN_WORKSPACES
    caller = replace(await attack.door.person(ground.attacker), permissions=permissions, name=f"{role.value} there")
    async with attack.database.system() as session:
        give = text("UPDATE memberships SET role = :role WHERE id = :id")
        await session.execute(give, {"role": role.value, "id": ground.attacker.values["memberships", "id"]})
    found = []
    for operation in (each for each in attack.tenants if each.opens_to != Open.PERSON.value):
        may = operation.opens_to in {each.value for each in permissions}
        for case in path_cases(operation, ground.attacker, ground.victim):
            found += [each async for each in judge(attack.door, caller, case, (404,) if may else (403,))]
    assert found == []


async def test_ids_in_bodies(attack: Attack) -> None:
    ground, theirs = attack.door.ground, attack.theirs
    cases = [case for each in opened(attack) for case in body_cases(each, ground.attacker, ground.victim, theirs)]
    assert len(cases) > 100
    assert await attack.findings_of_ids(cases) == []


async def test_ids_in_filters_and_cursors(attack: Attack) -> None:
    ground, theirs = attack.door.ground, attack.theirs
    cases = [
        case
        for each in opened(attack)
        if str(each) not in NOT_SHOWN
        for case in query_cases(each, ground.attacker, theirs)
    ]
    assert len(cases) > 100
    assert await attack.findings_of_ids(cases) == []


async def test_lists_show_ones_own(attack: Attack) -> None:
    ground, found = attack.door.ground, list[str]()
    for operation in opened(attack):
        if operation.method == "GET" and str(operation) not in NOT_SHOWN:
            own = {name: id_of(ground.attacker, name) for name in operation.names}
            answer = await attack.door.ask(attack.caller_for(operation), operation, own)
            found += [f"{operation} shows {trace}" for trace in traces(ground.victim, (answer.text, answer.headers))]
    assert found == []


#: What a caller of a workspace writes for the whole tenant: what was done, and the key that secrets are sealed with.
WRITTEN_FOR_ALL = ("audit_events", "tenant_data_keys")


def test_another_workspaces_rows_are_out_of_reach_of_sql(neighbours: Ground) -> None:
    before = neighbours.sums_of(neighbours.victim)
    attacks = [sql_attacks.reading, sql_attacks.planting, sql_attacks.taking_over, sql_attacks.referring]
    with standing_in_own(neighbours) as connection:
        found = [finding for attack in attacks for finding in attack(connection, neighbours)]
        found += sql_attacks.changing(connection, neighbours, own_rows=1)
    assert [each for each in found if not any(table in each for table in WRITTEN_FOR_ALL)] == []
    assert neighbours.sums_of(neighbours.victim) == before


def test_ones_own_rows_are_there(neighbours: Ground) -> None:
    """But those of the whole tenant: an attack on a table that hides everything would prove nothing."""
    with standing_in_own(neighbours) as connection:
        hidden = sql_attacks.missing_own(connection, neighbours, neighbours.attacker)
    assert {each.split()[0] for each in hidden} == {
        *("audit_events", "data_subject_erasures", "suppressions", "mail_backup_targets")
    }


def test_no_row_goes_over_to_another_workspace(neighbours: Ground) -> None:
    theirs = neighbours.victim.values["workspaces", "id"]
    with standing_in_own(neighbours) as connection:
        for update, value in (
            ("UPDATE memberships SET workspaces = %s", [theirs]),
            ("UPDATE domains SET workspace_id = %s", theirs),
        ):
            with pytest.raises((InsufficientPrivilege, ForeignKeyViolation)), connection.transaction():
                connection.execute(update, [value])
