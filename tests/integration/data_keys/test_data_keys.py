"""Tenants' own keys: what seals, what opens, how all of them change under load, and how they are destroyed."""

import asyncio
import os
import uuid
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from control_plane.data_keys.columns import COLUMNS
from control_plane.data_keys.keys import open_sealed, platform_keys, tenant_keys
from control_plane.data_keys.rotation import (
    advance_rotation,
    forget_unused,
    master_headers_in_use,
    progress_of,
    request_rotation,
)
from control_plane.data_keys.shred import shred
from control_plane.data_keys.stale import reseal_page
from control_plane.sealing import SealBroken, Sealer, add_master_key, keep_master_keys, load_or_create_key
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server

_PROBE = "SELECT id, probe_password_sealed FROM vps_servers"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "sealing.key"


@pytest.fixture
def master(key_file: Path) -> Sealer:
    return Sealer.of_file(key_file)


async def seal_probe(database: Database, master: Sealer, tenant: SomeTenant, plain: bytes) -> uuid.UUID:
    vps_id = await make_server(database, tenant)
    async with database.system() as session:
        keys = await tenant_keys(session, master, tenant.id)
        sealed = keys.seal(plain, f"vps_servers.probe_password:{vps_id}")
        change = text("UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id")
        await session.execute(change, {"sealed": sealed, "id": vps_id})
    return vps_id


async def read_probe(database: Database, master: Sealer, vps_id: uuid.UUID) -> bytes:
    async with database.system() as session:
        sealed = (await session.execute(text(f"{_PROBE} WHERE id = :id"), {"id": vps_id})).one()[1]
        return await open_sealed(session, master, sealed, f"vps_servers.probe_password:{vps_id}")


async def rotate(database: Database, master: Sealer, key_file: Path) -> None:
    add_master_key(key_file)
    asking = Sealer.of_file(key_file)
    async with database.system() as session:
        await request_rotation(session, asking)
    await advance_rotation(database, master)


async def test_every_sealed_column_of_the_schema_is_in_the_table(system_database: Database) -> None:
    query = text(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND column_name LIKE '%\\_sealed'"
    )
    async with system_database.system() as session:
        in_schema = {tuple(row) for row in await session.execute(query)}
    assert in_schema == {(each.table, each.column) for each in COLUMNS}


async def test_a_value_is_sealed_by_its_tenants_key_and_opens_at_its_row_alone(
    system_database: Database, api_database: Database, master: Sealer, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    async with api_database.tenant(tenant.id) as session:
        sealed = (await tenant_keys(session, master, tenant.id)).seal(b"herring", "here:1")
    async with api_database.tenant(other_tenant.id) as session:
        others = (await tenant_keys(session, master, other_tenant.id)).seal(b"cod", "here:1")
        with pytest.raises(SealBroken):
            await open_sealed(session, master, sealed, "here:1")
    async with system_database.system() as session:
        assert await open_sealed(session, master, sealed, "here:1") == b"herring"
        assert sealed[:17] != others[:17]
        for altered in (sealed[:-1], sealed[:20], b"", bytes([9]) + sealed[1:], sealed[:-1] + bytes([sealed[-1] ^ 1])):
            with pytest.raises(SealBroken):
                await open_sealed(session, master, altered, "here:1")
        with pytest.raises(SealBroken):
            await open_sealed(session, master, sealed, "here:2")
        with pytest.raises(SealBroken):
            await open_sealed(session, Sealer(bytes(32)), sealed, "here:1")


async def test_requests_that_come_at_once_agree_on_a_tenants_first_key(
    api_database: Database, master: Sealer, tenant: SomeTenant
) -> None:
    async def sealed() -> bytes:
        async with api_database.tenant(tenant.id) as session:
            return (await tenant_keys(session, master, tenant.id)).seal(b"herring", "here:1")

    headers = {value[:17] for value in await asyncio.gather(*(sealed() for _ in range(5)))}
    assert len(headers) == 1


async def test_the_api_role_has_no_right_on_the_platforms_keys(
    api_database: Database, master: Sealer, tenant: SomeTenant
) -> None:
    async with api_database.tenant(tenant.id) as session:
        with pytest.raises(DBAPIError, match="permission denied"):
            await platform_keys(session, master)
        await session.rollback()


async def test_what_a_master_key_sealed_by_itself_opens_still_and_is_sealed_anew(
    system_database: Database, master: Sealer, key_file: Path, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    old = master.seal(b"herring", f"vps_servers.probe_password:{vps_id}")
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET probe_password_sealed = :old"), {"old": old})
    assert await read_probe(system_database, master, vps_id) == b"herring"
    await rotate(system_database, master, key_file)
    assert await read_probe(system_database, master, vps_id) == b"herring"
    async with system_database.system() as session:
        assert (await session.execute(text(_PROBE))).one()[1][:1] == b"\x02"
        assert await master_headers_in_use(session) == {master.headers[-1]}


async def test_all_keys_change_while_everything_is_read_and_sealed(
    system_database: Database,
    key_file: Path,
    tenant: SomeTenant,
    other_tenant: SomeTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that knows nothing of the change reads each value and seals another, meanwhile."""
    worker, other_process = Sealer.of_file(key_file), Sealer.of_file(key_file)
    monkeypatch.setattr("control_plane.data_keys.stale.PAGE", 2)
    plain = {
        await seal_probe(system_database, worker, who, secret): secret
        for who in (tenant, other_tenant)
        for secret in (os.urandom(8) for _ in range(5))
    }
    before = {row[0]: row[1] for row in await rows(system_database)}
    done = asyncio.Event()
    reads = 0

    async def read_on() -> None:
        nonlocal reads
        while not done.is_set():
            for vps_id, secret in list(plain.items()):
                assert await read_probe(system_database, other_process, vps_id) == secret
                reads += 1
            new = os.urandom(8)
            plain[await seal_probe(system_database, other_process, tenant, new)] = new

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read_on())
        await rotate(system_database, worker, key_file)
        await advance_rotation(system_database, worker)
        done.set()
    await advance_rotation(system_database, worker)
    assert reads > len(before)
    after = {row[0]: row[1] for row in await rows(system_database)}
    assert all(after[vps_id][:17] != sealed[:17] for vps_id, sealed in before.items())
    async with system_database.system() as session:
        progress = await progress_of(session)
        assert progress.finished_at is not None
        assert sum(progress.left.values()) == 0
        assert progress.resealed >= len(before)
        used = await master_headers_in_use(session)
    keep_master_keys(key_file, list(used))
    only_new = Sealer.of_file(key_file)
    assert len(only_new.headers) == 1
    for vps_id, secret in plain.items():
        assert await read_probe(system_database, only_new, vps_id) == secret


async def test_a_change_that_was_interrupted_goes_on_where_it_was(
    system_database: Database, master: Sealer, key_file: Path, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await seal_probe(system_database, master, tenant, bytes([n])) for n in range(5)]
    monkeypatch.setattr("control_plane.data_keys.stale.PAGE", 2)
    pages = 0
    reseal = reseal_page

    async def struck(*arguments: object) -> object:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise ConnectionResetError
        return await reseal(*arguments)  # type: ignore[arg-type] # handed through

    monkeypatch.setattr("control_plane.data_keys.rotation.reseal_page", struck)
    with pytest.raises(ConnectionResetError):
        await rotate(system_database, master, key_file)
    async with system_database.system() as session:
        progress = await progress_of(session)
        assert (progress.resealed, progress.left["vps_servers.probe_password_sealed"]) == (2, 3)
        assert progress.finished_at is None
    await advance_rotation(system_database, master)
    async with system_database.system() as session:
        progress = await progress_of(session)
        assert (progress.resealed, sum(progress.left.values())) == (5, 0)
        assert progress.finished_at is not None
    assert [await read_probe(system_database, master, each) for each in ids] == [bytes([n]) for n in range(5)]


async def test_keys_that_were_replaced_go_only_when_nothing_names_them(
    system_database: Database, master: Sealer, key_file: Path, tenant: SomeTenant
) -> None:
    vps_id = await seal_probe(system_database, master, tenant, b"herring")
    async with system_database.system() as session:
        late = (await tenant_keys(session, master, tenant.id)).seal(b"cod", f"vps_servers.probe_password:{vps_id}")
    await rotate(system_database, master, key_file)
    async with system_database.system() as session:
        # Somebody who took the key before the change writes after it, and the change was long ago.
        await session.execute(text("UPDATE vps_servers SET probe_password_sealed = :late"), {"late": late})
        await session.execute(
            text("UPDATE tenant_data_keys SET retired_at = now() - interval '1 day' WHERE retired_at IS NOT NULL")
        )
    await forget_unused(system_database)
    assert await read_probe(system_database, master, vps_id) == b"cod"
    await rotate(system_database, master, key_file)
    async with system_database.system() as session:
        await session.execute(
            text("UPDATE tenant_data_keys SET retired_at = now() - interval '1 day' WHERE retired_at IS NOT NULL")
        )
    await forget_unused(system_database)
    assert await read_probe(system_database, master, vps_id) == b"cod"
    async with system_database.system() as session:
        assert await session.scalar(text("SELECT count(*) FROM tenant_data_keys")) == 1


async def test_a_worker_without_the_new_master_key_changes_nothing(
    system_database: Database, key_file: Path, tenant: SomeTenant
) -> None:
    copied = Sealer(load_or_create_key(key_file))
    await seal_probe(system_database, copied, tenant, b"herring")
    before = await rows(system_database)
    await rotate(system_database, copied, key_file)
    assert await rows(system_database) == before


async def test_a_process_that_has_read_nothing_since_seals_by_the_newest_master_key(
    system_database: Database, master: Sealer, key_file: Path, tenant: SomeTenant
) -> None:
    idle = Sealer.of_file(key_file)
    await rotate(system_database, master, key_file)
    keep_master_keys(key_file, [])
    async with system_database.system() as session:
        sealed = (await tenant_keys(session, idle, tenant.id)).seal(b"herring", "here:1")
    async with system_database.system() as session:
        assert await open_sealed(session, Sealer.of_file(key_file), sealed, "here:1") == b"herring"


async def test_a_master_key_that_comes_while_another_is_put_into_use_is_taken_up(
    system_database: Database, master: Sealer, key_file: Path, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    add_master_key(key_file)
    master.read_again()
    async with system_database.system() as session:
        await tenant_keys(session, master, tenant.id)
        await request_rotation(session, master)
        add_master_key(key_file)
        await tenant_keys(session, Sealer.of_file(key_file), other_tenant.id)
    async with asyncio.timeout(60):
        await advance_rotation(system_database, master)
    async with system_database.system() as session:
        assert await master_headers_in_use(session) == {Sealer.of_file(key_file).headers[-1]}


async def test_a_value_that_does_not_open_is_left_and_counted(
    system_database: Database, master: Sealer, key_file: Path, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant, probe_password_sealed=b"\x02garbage")
    good = await seal_probe(system_database, master, tenant, b"herring")
    await rotate(system_database, master, key_file)
    assert await read_probe(system_database, master, good) == b"herring"
    async with system_database.system() as session:
        progress = await progress_of(session)
    assert (progress.broken, sum(progress.left.values())) == (1, 1)
    assert progress.finished_at is not None
    assert dict(await rows(system_database))[vps_id] == b"\x02garbage"


async def test_without_its_keys_nothing_of_a_tenant_opens_and_others_do(
    system_database: Database, master: Sealer, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    gone = await seal_probe(system_database, master, tenant, b"herring")
    stays = await seal_probe(system_database, master, other_tenant, b"cod")
    async with system_database.system() as session:
        assert await shred(session, tenant.id) == 1
    with pytest.raises(SealBroken):
        await read_probe(system_database, master, gone)
    assert await read_probe(system_database, master, stays) == b"cod"


async def rows(database: Database) -> list[tuple[uuid.UUID, bytes]]:
    async with database.system() as session:
        return [(row[0], bytes(row[1])) for row in await session.execute(text(f"{_PROBE} ORDER BY id"))]
