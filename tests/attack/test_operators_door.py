"""The operators' door: shut to tenants and people, and each scope opens what names it and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.operators.scopes import OperatorScope
from control_plane.operators.server_commands import TERMS, CommandKind
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings
from db.session import Database
from tests.attack.door import make_key
from tests.attack.ground import Ground, make_ground
from tests.attack.operations import Operation, operations_of
from tests.attack.rows import Rows
from tests.attack.walk import unlike
from tests.integration.database import fresh_database
from tests.integration.operators.door import make_key as make_operator_key
from tests.integration.operators.door import operator_client

PREFIX = "/operator/v1"


@dataclass(frozen=True, slots=True)
class OperatorsDoor:
    client: httpx.AsyncClient
    operations: list[Operation]
    ground: Ground
    system: Database

    async def ask(self, operation: Operation, token: str | None) -> httpx.Response:
        """Ask for something that there is not."""
        values = {name: unlike(self.ground.victim.id) for name in operation.names}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.client.request(
            operation.method, operation.filled(values), json=operation.body, headers=headers
        )


@pytest.fixture(scope="module")
async def door(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorsDoor]:
    with fresh_database(cluster) as fresh:
        ground, system = make_ground(fresh), Database(fresh.url("penguin_system"))
        state: Path = tmp_path_factory.mktemp("state")
        app = make_operators_app(
            Settings.model_validate({"state_dir": state, "system_database_url": fresh.url("penguin_system")})
        )
        async with app.router.lifespan_context(app), operator_client(app, None) as client:
            yield OperatorsDoor(client, operations_of(app, PREFIX, "x-scope"), ground, system)
        await system.close()


async def strangers(door: OperatorsDoor) -> dict[str, str | None]:
    rows: Rows = door.ground.attacker
    key = await make_key(door.system, rows, None)
    _, _, prefix, secret = key.split("_")
    return {
        "nobody": None,
        "a tenant's key": key,
        "a tenant's key that says it is an operator's": f"pmo_{prefix}_{secret}",
        "a person": "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6IjEifQ.e30.x",
        "garbage": "pmo_",
    }


def by_kind(operation: Operation) -> list[Operation]:
    """Return an operation for each kind of command, which have scopes of their own; another as it is."""
    if " or " not in operation.opens_to:
        return [operation]
    return [
        replace(operation, opens_to=TERMS[kind].scope.value, body={**operation.body, "kind": kind.value})
        for kind in CommandKind
    ]


async def test_whoever_is_no_operator_is_refused_everything(door: OperatorsDoor) -> None:
    opened = []
    for name, token in (await strangers(door)).items():
        for operation in door.operations:
            answer = await door.ask(operation, token)
            opened += [f"{operation} answers {name} with {answer.status_code}"] if answer.status_code != 401 else []
    assert opened == []


@pytest.mark.parametrize("scope", OperatorScope)
async def test_a_scope_opens_what_names_it_and_nothing_else(door: OperatorsDoor, scope: OperatorScope) -> None:
    key = (await make_operator_key(door.system, f"attack {scope}", [scope])).key
    asked = [each for operation in door.operations for each in by_kind(operation)]
    named = [each for each in asked if each.opens_to == scope.value]
    # What shows addresses opens nothing by itself.
    assert bool(named) == (scope is not OperatorScope.REVEAL_ADDRESSES)
    for operation in asked:
        status = (await door.ask(operation, key)).status_code
        assert (status == 403) == (operation not in named), f"{operation} {operation.body} answers {status} to {scope}"
        assert status != 401
