import pytest
from sqlalchemy import text

from control_plane.messages import forget_keys
from control_plane.messages.forget_keys import forget_old_keys
from db.session import Database
from tests.integration.database import SomeTenant

_KEY = text(
    "INSERT INTO idempotency_keys (tenant_id, key, request_sha256, message_ids, problems, created_at)"
    " SELECT :tenant, :name || n, decode(repeat('00', 32), 'hex'), '{NULL}', '{}', now() - make_interval(hours => :age)"
    " FROM generate_series(1, :count) AS n"
)
_LEFT = text("SELECT count(*) FROM idempotency_keys WHERE key LIKE :name || '%'")


async def make_keys(database: Database, tenant: SomeTenant, name: str, count: int, *, age: int) -> None:
    async with database.system() as session:
        await session.execute(_KEY, {"tenant": tenant.id, "name": name, "count": count, "age": age})


async def left(database: Database, name: str) -> int:
    async with database.system() as session:
        count: int = await session.scalar(_LEFT, {"name": name})
        return count


async def test_keys_are_kept_for_a_day_and_then_forgotten_for_every_tenant(
    system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    await make_keys(system_database, tenant, "young", 2, age=23)
    await make_keys(system_database, tenant, "old", 2, age=25)
    await make_keys(system_database, other_tenant, "old", 1, age=25)

    assert await forget_old_keys(system_database) == 3

    assert await left(system_database, "young") == 2
    assert await left(system_database, "old") == 0


async def test_a_run_is_bounded_and_begins_with_the_oldest(
    system_database: Database, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget_keys, "PAGE", 2)
    monkeypatch.setattr(forget_keys, "MOST_PAGES", 3)
    await make_keys(system_database, tenant, "old", 4, age=25)
    await make_keys(system_database, tenant, "older", 5, age=26)

    assert await forget_old_keys(system_database) == 6
    assert await left(system_database, "older") == 0
    assert await forget_old_keys(system_database) == 3


async def test_a_key_in_use_is_not_waited_for(system_database: Database, tenant: SomeTenant) -> None:
    await make_keys(system_database, tenant, "old", 2, age=25)
    async with system_database.system() as session:
        await session.execute(text("SELECT 1 FROM idempotency_keys WHERE key = 'old1' FOR UPDATE"))
        assert await forget_old_keys(system_database) == 1
    assert await forget_old_keys(system_database) == 1


async def test_the_same_key_of_another_workspaces_caller_is_another_key(
    system_database: Database, tenant: SomeTenant
) -> None:
    await make_keys(system_database, tenant, "order-", 1, age=25)
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO idempotency_keys (tenant_id, within, key, request_sha256, message_ids, problems)"
                " SELECT tenant_id, '{a-workspace}', key, request_sha256, message_ids, problems FROM idempotency_keys"
            )
        )

    assert await forget_old_keys(system_database) == 1

    assert await left(system_database, "order-") == 1
