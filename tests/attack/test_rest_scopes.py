"""The scope that queries say, without the policies that would hold anyway; and that the walk can find something.

The door is opened as the role that sees all tenants. What is refused here is refused by our code alone: row-level
security is the second lock and not the only one.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import text

from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.errors import NotFound
from control_plane.rest.access import Access, Open, transaction
from control_plane.tenancy.permissions import Permission
from tests.attack.attacking import Attack, attacking
from tests.attack.door import PREFIX
from tests.attack.kinds import id_of
from tests.attack.operations import operations_of
from tests.attack.sql_attacks import traces
from tests.attack.walk import body_cases, path_cases, query_cases

ASKING_OTHERS = {"GET /vps/{vps_id}/logs", "GET /vps/{vps_id}/mail-backups", "GET /inboxes/{inbox_id}/dns-records/plan"}
_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
_mistakes = APIRouter(prefix=f"{PREFIX}/mistakes")


@_mistakes.get("/shown/{domain_id}")
async def show(domain_id: UUID, access: _Reading) -> str:
    name = await access.session.scalar(text("SELECT name FROM domains WHERE id = :id"), {"id": domain_id})
    if name is None:
        raise NotFound("There is no such domain.")
    return str(name)


@_mistakes.get("/told/{domain_id}")
async def tell(domain_id: UUID, access: _Reading) -> str:
    values = {"id": domain_id, "tenant": access.scope.tenant_id}
    if await access.session.scalar(text("SELECT true FROM domains WHERE id = :id"), values):
        own = "SELECT name FROM domains WHERE id = :id AND tenant_id = :tenant"
        if (name := await access.session.scalar(text(own), values)) is not None:
            return str(name)
    raise NotFound("There is no such domain.")


@pytest.fixture(scope="module")
async def attack(
    cluster: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Attack]:
    async with attacking(cluster, redis_server, tmp_path_factory.mktemp("state"), "penguin_system") as made:
        yield made


@pytest.fixture(scope="module")
async def mistaken(attack: Attack) -> FastAPI:
    """The application with the mistakes, of which those who asked before know nothing."""
    attack.door.app.include_router(_mistakes)
    attack.door.app.openapi_schema = None
    return attack.door.app


async def test_without_policies_queries_keep_to_their_tenant(attack: Attack) -> None:
    ground, theirs, found = attack.door.ground, attack.theirs, list[str]()
    for operation in attack.tenants:
        found += await attack.findings(path_cases(operation, ground.attacker, ground.victim), (404,))
        found += await attack.findings_of_ids(body_cases(operation, ground.attacker, ground.victim, ()))
        if str(operation) not in ASKING_OTHERS:
            found += await attack.findings_of_ids(query_cases(operation, ground.attacker, theirs))
    assert found == []


async def test_without_policies_lists_keep_to_their_tenant(attack: Attack) -> None:
    ground, found = attack.door.ground, list[str]()
    for operation in attack.tenants:
        if operation.method == "GET" and str(operation) not in ASKING_OTHERS:
            own = {name: id_of(ground.attacker, name) for name in operation.names}
            answer = await attack.door.ask(attack.caller_for(operation), operation, own)
            found += [f"{operation} shows {trace}" for trace in traces(ground.victim, (answer.text, answer.headers))]
    assert found == []


@pytest.mark.parametrize(("mistake", "sign"), [("shown", "shows zzvictim"), ("told", "tells")])
async def test_a_route_whose_query_lacks_its_tenant_is_found(
    attack: Attack, mistaken: FastAPI, mistake: str, sign: str
) -> None:
    ground = attack.door.ground
    made = [each for each in operations_of(mistaken, PREFIX, "x-permission") if f"/{mistake}/" in each.path]
    [operation] = [replace(each, opens_to=Permission.READ_INBOXES.value) for each in made]
    cases = path_cases(operation, ground.attacker, ground.victim)
    found = await attack.findings(cases, (404,))
    assert any(sign in finding for finding in found)


async def test_an_operation_that_nobody_described_has_no_case(attack: Attack) -> None:
    """What opens to no permission and to nobody that is known is not walked by chance."""
    known = {each.value for each in (*Permission, *Open)}
    assert {each.opens_to for each in attack.door.operations} <= known
