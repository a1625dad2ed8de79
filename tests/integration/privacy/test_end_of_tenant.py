import uuid
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from psycopg import sql

from control_plane.embedded.postgres import OWNER
from control_plane.errors import Conflict, NotFound
from control_plane.privacy import end_of_tenant
from control_plane.privacy.end_of_tenant import begin_erasure, erase_tenant, erase_tenants
from db.session import Database
from tests.attack.rows import fill, loosen, read_catalogue
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server


@pytest.fixture
def owner(database: FreshDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.url(OWNER), autocommit=True) as connection:
        yield connection


async def begin(database: Database, tenant_id: uuid.UUID) -> None:
    async with database.system() as session:
        await begin_erasure(session, tenant_id)


async def test_a_tenants_rows_go_from_every_table_and_anothers_stay(
    system_database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = read_catalogue(owner)
    loosen(owner)
    gone, staying = fill(owner, catalogue, "zzgoneq7"), fill(owner, catalogue, "zzstayingk3")
    owner.execute("UPDATE vps_servers SET status = 'deleted'")
    last = owner.execute("SELECT position, hash FROM audit_events WHERE tenant_id = %s", [gone.id]).fetchone()
    await begin(system_database, gone.id)
    keys = owner.execute("SELECT count(*) FROM tenant_data_keys WHERE tenant_id = %s", [gone.id]).fetchone()
    assert keys == (0,), "the keys go first"
    monkeypatch.setattr(end_of_tenant, "PAGE", 1)
    await erase_tenants(system_database)
    counting = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s")
    for table in catalogue.tenant_tables:
        column = catalogue.of_tenants(table) or ""
        left = {
            who: owner.execute(counting.format(sql.Identifier(table), sql.Identifier(column)), [rows.id]).fetchone()
            for who, rows in (("gone", gone), ("staying", staying))
        }
        assert left == {"gone": (1,) if table == "tenants" else (0,), "staying": (1,)}, table
    tombstone = owner.execute(
        "SELECT state, name, audit_position, audit_hash, erased_at IS NOT NULL FROM tenants WHERE id = %s", [gone.id]
    ).fetchone()
    assert last is not None
    assert tombstone == ("erased", "(erased)", *last, True)
    with pytest.raises(Conflict):
        await begin(system_database, gone.id)


async def test_a_tenant_with_servers_is_not_erased(system_database: Database, tenant: SomeTenant) -> None:
    await make_server(system_database, tenant)
    with pytest.raises(Conflict, match="has 1 servers"):
        await begin(system_database, tenant.id)
    with pytest.raises(NotFound):
        await begin(system_database, uuid.uuid4())


async def test_an_erasure_that_was_cut_short_is_gone_on_with(
    system_database: Database,
    tenant: SomeTenant,
    rest_client: httpx.AsyncClient,
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (await rest_client.post("workspaces", json={"name": "More"})).status_code == 201
    await begin(system_database, tenant.id)
    assert (await rest_client.post("workspaces", json={"name": "Yet more"})).status_code == 403

    whole = end_of_tenant.tables()
    with monkeypatch.context() as cut:
        cut.setattr(end_of_tenant, "tables", lambda: [*whole[: len(whole) // 2], None])
        with pytest.raises(AttributeError):
            await erase_tenant(system_database, tenant.id)
    await begin(system_database, tenant.id)
    await erase_tenants(system_database)
    assert owner.execute("SELECT state FROM tenants WHERE id = %s", [tenant.id]).fetchone() == ("erased",)
    assert (await rest_client.get("workspaces")).status_code == 401


async def test_deeds_of_a_tenant_that_is_not_erased_cannot_be_deleted(
    system_database: Database, rest_client: httpx.AsyncClient, database: FreshDatabase
) -> None:
    await rest_client.post("workspaces", json={"name": "More"})
    with psycopg.connect(database.url("penguin_system")) as system, pytest.raises(psycopg.errors.RaiseException):
        system.execute("DELETE FROM audit_events")


async def test_people_go_with_the_last_tenant_that_they_were_in(
    system_database: Database, owner: psycopg.Connection, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    joined = "INSERT INTO memberships (tenant_id, person_id, role, ended_at) VALUES (%s, %s, 'member', %s)"
    past = "2026-01-01"
    places: dict[str, list[tuple[uuid.UUID, str | None]]] = {
        "only": [(tenant.id, None)],
        "left": [(tenant.id, past)],
        "both": [(tenant.id, None), (other_tenant.id, None)],
        "once elsewhere": [(tenant.id, None), (other_tenant.id, past)],
        "elsewhere": [(other_tenant.id, None)],
        "nowhere": [],
    }
    for name, memberships in places.items():
        new = "INSERT INTO people (email, name) VALUES (%s, %s) RETURNING id"
        [person_id] = owner.execute(new, [f"{name.replace(' ', '-')}@example.net", name]).fetchone() or [None]
        owner.execute(
            "INSERT INTO sessions (person_id, working_in, expires_at) VALUES (%s, %s, now())", [person_id, tenant.id]
        )
        for where, ended_at in memberships:
            owner.execute(joined, [where, person_id, ended_at])
    await begin(system_database, tenant.id)
    await erase_tenant(system_database, tenant.id)
    staying = {name for (name,) in owner.execute("SELECT name FROM people")}
    assert staying == {"both", "elsewhere", "nowhere"}
    sessions = owner.execute("SELECT p.name, s.working_in FROM sessions s JOIN people p ON p.id = s.person_id")
    assert sorted(sessions) == [(name, None) for name in sorted(staying)]
