"""Walk what the application says it offers: each operation opens to its one permission, and to nothing else."""

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from control_plane.identity.api_keys import insert_api_key
from control_plane.rest.access import Open
from control_plane.tenancy.permissions import ROLES, Permission, Role
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.rest import client_of, problem

HELLO = {"to": "anna@example.net", "subject": "Hello", "text": "Hello\n"}
#: Where the body is read before the permission is asked for: no transaction waits for a body, nor for company.
BODIES = {
    ("POST", "/inboxes/{inbox_id}/messages"): HELLO,
    ("POST", "/inboxes/{inbox_id}/messages:batch"): {"messages": [HELLO]},
}


def operations(app: FastAPI) -> Iterator[tuple[tuple[str, str], Permission]]:
    """Yield each operation below /api/v1 with the permission that it says it needs."""
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            if path.startswith("/api/v1/") and operation["x-permission"] not in {each.value for each in Open}:
                yield (method.upper(), path.removeprefix("/api/v1")), Permission(operation["x-permission"])


async def key_of(database: Database, tenant: SomeTenant, permissions: frozenset[Permission]) -> str:
    async with database.system() as session:
        scopes = [each.value for each in permissions]
        return (await insert_api_key(session, tenant.id, "scoped", created_by="operator", scopes=scopes)).key


async def ask(client: httpx.AsyncClient, operation: tuple[str, str], known: Mapping[str, Any]) -> httpx.Response:
    """Send one operation, with an id that nothing has for each id that is not known."""
    method, path = operation
    filled = re.sub(r"\{(\w+)\}", lambda match: str(known.get(match[1], uuid.uuid4())), path)
    # Whole: httpx takes what is before a colon for a scheme.
    return await client.request(method, f"http://penguin.test/api/v1{filled}", json=BODIES.get(operation))


@pytest.fixture
def known(tenant: SomeTenant) -> dict[str, Any]:
    return {"workspace_id": tenant.workspace_id}


@pytest.mark.parametrize("missing", Permission)
async def test_all_other_permissions_together_do_not_stand_for_one(
    rest_app: FastAPI, system_database: Database, tenant: SomeTenant, known: dict[str, Any], missing: Permission
) -> None:
    needing = [operation for operation, permission in operations(rest_app) if permission is missing]
    assert needing
    async with client_of(rest_app, await key_of(system_database, tenant, frozenset(Permission) - {missing})) as client:
        for operation in needing:
            body = problem(await ask(client, operation, known), 403, "forbidden")
            assert missing.value in body["detail"], operation


@pytest.mark.parametrize("permission", Permission)
async def test_a_permission_opens_what_says_that_it_needs_it(
    rest_app: FastAPI, system_database: Database, tenant: SomeTenant, known: dict[str, Any], permission: Permission
) -> None:
    async with client_of(rest_app, await key_of(system_database, tenant, frozenset({permission}))) as client:
        for operation, needed in operations(rest_app):
            if needed is permission:
                answer = await ask(client, operation, known)
                assert answer.status_code not in {401, 403}, (operation, answer.text)
                assert answer.status_code < 500, (operation, answer.text)


@pytest.mark.parametrize("role", Role)
async def test_a_role_opens_what_its_permissions_open(
    rest_app: FastAPI, system_database: Database, tenant: SomeTenant, known: dict[str, Any], role: Role
) -> None:
    async with client_of(rest_app, await key_of(system_database, tenant, ROLES[role])) as client:
        for operation, needed in operations(rest_app):
            forbidden = (await ask(client, operation, known)).status_code == 403
            assert forbidden == (needed not in ROLES[role]), operation


async def test_another_tenants_workspace_opens_to_no_role(
    rest_app: FastAPI, other_client: httpx.AsyncClient, known: dict[str, Any]
) -> None:
    asked = 0
    for operation, _ in operations(rest_app):
        if operation[0] == "GET" and "{workspace_id}" in operation[1]:
            asked += 1
            problem(await ask(other_client, operation, known), 404, "not-found")
    assert asked > 3
