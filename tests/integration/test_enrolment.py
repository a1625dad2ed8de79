import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from control_plane.enrolment.admission import admit
from control_plane.enrolment.authority import Authority, IssuedCertificate
from control_plane.enrolment.certificates import record_certificate, revoke_certificates
from control_plane.enrolment.identity import AgentIdentity
from control_plane.enrolment.tokens import burn_join_token, create_join_token, forget_join_tokens
from control_plane.errors import Forbidden, PenguinError, Unauthenticated
from control_plane.sealing import SealBroken, Sealer
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server

SEALER = Sealer(bytes(32))


async def load(database: Database, sealer: Sealer = SEALER) -> Authority:
    async with database.system() as session:
        return await Authority.load_or_create(session, sealer, "penguin.example")


async def token_for(database: Database, tenant: SomeTenant, vps_id: uuid.UUID, minutes: int = 30) -> str:
    async with database.system() as session:
        return await create_join_token(session, tenant.id, vps_id, timedelta(minutes=minutes))


async def burn(database: Database, token: str) -> AgentIdentity | PenguinError:
    async with database.system() as session:
        try:
            return await burn_join_token(session, token, datetime.now(UTC))
        except PenguinError as refusal:
            return refusal


async def test_processes_that_start_together_make_one_authority(system_database: Database) -> None:
    authorities = await asyncio.gather(*(load(system_database) for _ in range(4)))

    assert len({authority.certificate_pem for authority in authorities}) == 1


async def test_another_sealing_key_opens_no_authority(system_database: Database) -> None:
    await load(system_database)

    with pytest.raises(SealBroken):
        await load(system_database, Sealer(b"\1" * 32))


async def test_of_many_that_show_one_token_at_once_one_is_let_in(system_database: Database, tenant: SomeTenant) -> None:
    vps_id = await make_server(system_database, tenant)
    token = await token_for(system_database, tenant, vps_id)

    outcomes = await asyncio.gather(*(burn(system_database, token) for _ in range(5)))

    assert [outcome for outcome in outcomes if outcome == AgentIdentity(tenant.id, vps_id)] != []
    assert sum(isinstance(outcome, Unauthenticated) for outcome in outcomes) == 4


@pytest.mark.parametrize("token", ["", "x", "not base64!", "A" * 43, "ü" * 43])
async def test_what_is_no_token_is_refused(system_database: Database, token: str) -> None:
    assert isinstance(await burn(system_database, token), Unauthenticated)


async def test_an_expired_token_is_refused_and_a_forgotten_one_too(
    system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    expired = await token_for(system_database, tenant, vps_id, minutes=-1)
    forgotten = await token_for(system_database, tenant, vps_id)
    assert isinstance(await burn(system_database, expired), Unauthenticated)

    async with system_database.system() as session:
        await forget_join_tokens(session, vps_id)

    assert isinstance(await burn(system_database, forgotten), Unauthenticated)


async def admission(database: Database, identity: AgentIdentity, serial: str) -> type[PenguinError] | None:
    async with database.system() as session:
        try:
            await admit(session, identity, serial)
        except PenguinError as refusal:
            return type(refusal)
    return None


async def test_an_agent_is_admitted_until_its_certificate_is_revoked_or_its_server_banned(
    system_database: Database, tenant: SomeTenant
) -> None:
    servers = [await make_server(system_database, tenant) for _ in range(3)]
    whole = [AgentIdentity(tenant.id, vps_id) for vps_id in servers]
    async with system_database.system() as session:
        for number, identity in enumerate(whole):
            issued = IssuedCertificate(b"", f"{number:x}", datetime.now(UTC) + timedelta(hours=1))
            await record_certificate(session, identity, issued)
        await revoke_certificates(session, servers[1])
        await session.execute(text("UPDATE vps_servers SET banned_at = now() WHERE id = :id"), {"id": servers[2]})

    assert await admission(system_database, whole[0], "0") is None
    assert await admission(system_database, whole[1], "1") is Forbidden
    assert await admission(system_database, whole[2], "2") is Forbidden
    assert await admission(system_database, whole[0], "1") is Unauthenticated
    assert await admission(system_database, AgentIdentity(uuid.uuid4(), servers[0]), "0") is Unauthenticated
