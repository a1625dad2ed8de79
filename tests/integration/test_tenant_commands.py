"""`penguin tenant`, `workspace`, `api-key` and `plan`: what they change is on the operators' record."""

import json
import uuid

import pytest

from control_plane.cli import plans, tenants
from control_plane.cli.actor import this_user
from control_plane.errors import NotFound
from db.session import Database
from tests.integration.command_session import Penguin, acts_of_operators, penguin_on
from tests.integration.database import FreshDatabase, SomeTenant


@pytest.fixture
def penguin(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> Penguin:
    return penguin_on(database, monkeypatch, tenants, plans)


async def test_a_tenant_a_workspace_and_a_plan_that_an_operator_gives_are_recorded(
    penguin: Penguin, system_database: Database
) -> None:
    tenant = (await penguin("tenant", "create", "Anna Smith")).stdout.strip()
    workspace = (await penguin("workspace", "create", tenant, "Anna's")).stdout.strip()
    await penguin("plan", "set", tenant, "starter", "--limit", "inboxes=70", "--limit", "domains=none")
    recorded = await acts_of_operators(system_database)
    assert {(act.door, act.actor) for act in recorded} == {("cli", this_user().name)}
    assert [(act.act, act.subject) for act in recorded] == [
        ("tenant.create", {"tenant_id": tenant}),
        ("workspace.create", {"tenant_id": tenant, "workspace_id": workspace}),
        ("plan.set", {"tenant_id": tenant, "plan": "starter", "limits": ["domains=none", "inboxes=70"]}),
    ]


async def test_a_key_into_a_tenants_data_is_recorded_with_what_it_opens_and_without_its_secret(
    penguin: Penguin, system_database: Database, tenant: SomeTenant
) -> None:
    options = ("--scope", "api-keys:read", "--network", "192.0.2.0/24", "--workspace", tenant.workspace_id)
    made = json.loads((await penguin("api-key", "create", tenant.id, "auditor", *options, "--json")).stdout)
    await penguin("api-key", "create", tenant.id, "all")
    bounded, whole = await acts_of_operators(system_database)
    assert bounded.act == whole.act == "api-key.create"
    key_id = bounded.subject["key_id"]
    assert bounded.subject == {
        "tenant_id": str(tenant.id),
        "key_id": key_id,
        "scopes": ["api-keys:read"],
        "workspaces": [str(tenant.workspace_id)],
        "networks": ["192.0.2.0/24"],
    }
    assert made["api_key"].split("_")[-1] not in str(bounded.subject)
    assert whole.subject["scopes"] == ["everything"]
    await penguin("api-key", "revoke", tenant.id, key_id)
    ended = (await acts_of_operators(system_database))[-1]
    assert (ended.act, ended.subject) == ("api-key.revoke", {"tenant_id": str(tenant.id), "key_id": key_id})


async def test_what_was_refused_is_not_recorded(
    penguin: Penguin, system_database: Database, tenant: SomeTenant
) -> None:
    for words in (
        ("workspace", "create", uuid.uuid4(), "x"),
        ("api-key", "revoke", tenant.id, uuid.uuid4()),
        ("plan", "set", uuid.uuid4(), "starter"),
    ):
        assert isinstance((await penguin(*words)).exception, NotFound)
    assert await acts_of_operators(system_database) == []
