import uuid

import psycopg
import pytest
from sqlalchemy import text

from control_plane.embedded.postgres import OWNER
from db.session import Database, UnsafeRole
from tests.integration.database import FreshDatabase, SomeTenant

WORKSPACES = text("SELECT id FROM workspaces")


async def test_a_transaction_sees_its_own_tenant_only(
    api_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    async with api_database.tenant(tenant.id) as session:
        assert (await session.execute(WORKSPACES)).scalars().all() == [tenant.workspace_id]
    async with api_database.tenant(other_tenant.id) as session:
        assert (await session.execute(WORKSPACES)).scalars().all() == [other_tenant.workspace_id]


async def test_the_tenant_does_not_stay_on_a_pooled_connection(database: FreshDatabase, tenant: SomeTenant) -> None:
    one_connection = Database(database.url("penguin_api"), pool_size=1)
    async with one_connection.tenant(tenant.id) as session:
        assert (await session.execute(WORKSPACES)).scalars().all() == [tenant.workspace_id]
    async with one_connection.system() as session:
        assert (await session.execute(WORKSPACES)).scalars().all() == []
    await one_connection.close()


async def test_a_row_of_another_tenant_is_refused_at_insert(
    api_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    insert = text("INSERT INTO pipeline_runs (tenant_id, kind, subject_id) VALUES (:tenant_id, 'vps.provision', :id)")
    with pytest.raises(Exception, match="row-level security") as raised:
        async with api_database.tenant(tenant.id) as session:
            await session.execute(insert, {"tenant_id": other_tenant.id, "id": uuid.uuid4()})
    assert isinstance(raised.value.__cause__, psycopg.errors.InsufficientPrivilege)


async def test_the_system_role_sees_every_tenant(
    system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    async with system_database.system() as session:
        seen = set((await session.execute(WORKSPACES)).scalars())
    assert seen == {tenant.workspace_id, other_tenant.workspace_id}


async def test_a_role_that_could_bypass_the_policies_is_refused(database: FreshDatabase) -> None:
    owner = Database(database.url(OWNER))
    with pytest.raises(UnsafeRole):
        await owner.refuse_unsafe_role()
    await owner.close()


@pytest.mark.parametrize("role", ["penguin_api", "penguin_system", "penguin_identity"])
async def test_the_roles_of_the_migrations_are_accepted(database: FreshDatabase, role: str) -> None:
    opened = Database(database.url(role))
    await opened.refuse_unsafe_role()
    await opened.close()
