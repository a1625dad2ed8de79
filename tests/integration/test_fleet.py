import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.fleet.desired import load_desired_state, raise_desired_version
from control_plane.fleet.links import Opening, close_links, open_links
from control_plane.fleet.reports import record_configuration_result, record_reports, report_row
from control_plane.fleet.servers import fleet_overview, server_health
from control_plane.providers.base import ACME_PORT_PROVIDERS
from control_plane.sealing import SealBroken, Sealer
from db.session import Database
from protos.agent.v1.configuration_pb2 import CertificateAuthority, ConfigurationResult, ProbeMailbox
from protos.agent.v1.telemetry_pb2 import Disk, HealthReport, ServedCertificate
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server

SEALER = Sealer(b"k" * 32)
LINK = uuid.uuid4()


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    vps_id = await make_server(system_database, tenant)
    sealed = SEALER.seal(b"probe password", f"vps_servers.probe_password:{vps_id}")
    await execute(
        system_database,
        "UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id",
        sealed=sealed,
        id=vps_id,
    )
    return vps_id


async def execute(database: Database, statement: str, **parameters: object) -> None:
    async with database.system() as session:
        await session.execute(text(statement), parameters)


async def server_row(database: Database, columns: str) -> tuple[object, ...]:
    async with database.system() as session:
        return tuple((await session.execute(text(f"SELECT {columns} FROM vps_servers"))).one())  # noqa: S608 - ours


async def test_the_desired_state_holds_the_servers_domains_keys_and_mailboxes(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    inbox = await make_inbox(system_database, tenant, vps_id)
    await make_inbox(system_database, tenant, vps_id, status="deleting")
    await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    key, key_id = rsa.generate_private_key(65537, 2048), uuid.uuid4()
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    await execute(
        system_database,
        "INSERT INTO dkim_keys (id, tenant_id, domain_id, selector, private_key_sealed, public_key)"
        " SELECT :id, :tenant, domain_id, 'pm1', :sealed, 'AAAA' FROM inboxes WHERE id = :inbox",
        id=key_id,
        tenant=tenant.id,
        inbox=inbox.id,
        sealed=SEALER.seal(der, f"dkim_keys.private_key:{key_id}"),
    )

    async with system_database.system() as session:
        assert await raise_desired_version(session, vps_id) == 2
        state = await load_desired_state(session, vps_id, SEALER, ("10.77.0.53",))
        address = await session.scalar(text("SELECT email_address FROM inboxes WHERE id = :id"), {"id": inbox.id})

    server = state.server
    assert state.version == 2
    assert (server.ipv4_address, list(server.nameservers)) == ("10.77.1.1", ["10.77.0.53"])
    assert [(mailbox.address, mailbox.password_hash) for mailbox in server.mailboxes] == [(address, "{ARGON2ID}x")]
    assert server.probe == ProbeMailbox(address=f"penguin-probe@{server.hostname}", password="probe password")
    [domain] = server.domains
    [dkim] = domain.dkim_keys
    assert address == f"sales@{domain.name}"
    assert (dkim.selector, dkim.active) == ("pm1", True)
    loaded = load_pem_private_key(dkim.private_key_pem, None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    assert loaded.private_numbers() == key.private_numbers()


async def test_only_where_a_firewall_keeps_port_80_shut_a_server_waits_for_it(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    authority = CertificateAuthority(directory_url="https://a.example")
    for provider, waits in (("hetzner", True), ("local", False)):
        await execute(system_database, "UPDATE vps_servers SET provider = :provider", provider=provider)
        async with system_database.system() as session:
            state = await load_desired_state(
                session, vps_id, SEALER, (), authority, acme_port_providers=ACME_PORT_PROVIDERS
            )
        assert state.server.authority == CertificateAuthority(directory_url="https://a.example", port_on_request=waits)


async def test_where_the_authority_looks_for_a_record_no_server_waits_for_a_port(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    authority = CertificateAuthority(directory_url="https://a.example", by_dns=True)
    await execute(system_database, "UPDATE vps_servers SET provider = 'hetzner'")
    async with system_database.system() as session:
        state = await load_desired_state(
            session, vps_id, SEALER, (), authority, acme_port_providers=ACME_PORT_PROVIDERS
        )
    assert state.server.authority == authority


async def test_there_is_no_desired_state_without_a_server_its_address_or_its_seal(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    async with system_database.system() as session:
        with pytest.raises(NotFound):
            await load_desired_state(session, uuid.uuid4(), SEALER, ())
        with pytest.raises(NotFound):
            await raise_desired_version(session, uuid.uuid4())
        with pytest.raises(SealBroken):
            await load_desired_state(session, vps_id, Sealer(b"o" * 32), ())
    await execute(system_database, "UPDATE vps_servers SET status = 'provisioning', ip_address = NULL")
    async with system_database.system() as session:
        with pytest.raises(Conflict):
            await load_desired_state(session, vps_id, SEALER, ())


@pytest.mark.parametrize(
    ("outcome", "status", "applied"),
    [
        (ConfigurationResult.OUTCOME_APPLIED, "running", 1),
        (ConfigurationResult.OUTCOME_REFUSED, "refused", 0),
        (ConfigurationResult.OUTCOME_ROLLED_BACK, "rolled_back", 0),
    ],
)
async def test_a_configurations_outcome_is_recorded(
    system_database: Database,
    vps_id: uuid.UUID,
    outcome: ConfigurationResult.Outcome.ValueType,
    status: str,
    applied: int,
) -> None:
    async with system_database.system() as session:
        await record_configuration_result(
            session, vps_id, ConfigurationResult(version=1, outcome=outcome, detail="because")
        )
    columns = "mail_server_status, applied_version, applied_detail, applied_at IS NOT NULL"
    assert await server_row(system_database, columns) == (status, applied, "because", applied == 1)


async def test_the_outcome_of_an_older_version_or_of_one_never_asked_for_changes_nothing(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await execute(
        system_database,
        "UPDATE vps_servers SET desired_version = 3, applied_version = 2, mail_server_status = 'running'",
    )
    refused = ConfigurationResult.OUTCOME_REFUSED
    async with system_database.system() as session:
        for version in (1, 4):
            await record_configuration_result(session, vps_id, ConfigurationResult(version=version, outcome=refused))
    assert await server_row(system_database, "mail_server_status, applied_version") == ("running", 2)


async def test_the_newest_report_is_kept_with_the_first_expiry_of_its_certificates(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    ports = {25: 2_000_000_000_000, 993: 1_900_000_000_000}
    certificates = [ServedCertificate(port=port, not_after_ms=at) for port, at in ports.items()]
    certificates.append(ServedCertificate(port=465, error="connection refused"))
    first = HealthReport(at_ms=1, agent_version="1.0")
    second = HealthReport(at_ms=2, agent_version="1.1", certificates=certificates)
    second.disks.append(Disk(mount="/", total_bytes=2**60, free_bytes=1))

    async with system_database.system() as session:
        await open_links(session, [Opening(vps_id, LINK, "0.9")])
        for report in (first, second):
            await record_reports(session, [report_row(vps_id, LINK, report)])
        health = await server_health(session, vps_id)

    assert health is not None
    assert health.report == second
    assert (health.agent_version, health.postfix_queue) == ("1.1", None)
    fields = health.report_fields()
    assert fields is not None
    assert fields["disks"][0]["total_bytes"] == str(2**60)
    assert await server_row(system_database, "ssl_certificate_expires") == (datetime.fromtimestamp(1_900_000_000, UTC),)


async def test_the_clocks_offset_is_kept_until_it_is_measured_anew(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    async with system_database.system() as session:
        await record_reports(session, [report_row(vps_id, LINK, HealthReport(at_ms=1))])
        health = await server_health(session, vps_id)
        assert health is not None
        assert (health.clock_offset_ms, health.clock_measured_at) == (None, None)
        await record_reports(session, [report_row(vps_id, LINK, HealthReport(at_ms=1), -1500)])
        await record_reports(session, [report_row(vps_id, LINK, HealthReport(at_ms=1))])
        health = await server_health(session, vps_id)
    assert health is not None
    assert health.clock_offset_ms == -1500
    assert health.clock_measured_at is not None


@pytest.mark.parametrize("report", [HealthReport(at_ms=2**62), HealthReport(agent_version="\0")])
async def test_a_report_that_means_nothing_is_refused(
    system_database: Database, vps_id: uuid.UUID, report: HealthReport
) -> None:
    with pytest.raises(InvalidInput):
        async with system_database.system() as session:
            await record_reports(session, [report_row(vps_id, LINK, report)])


async def test_a_link_is_cleared_by_its_own_end_alone(system_database: Database, vps_id: uuid.UUID) -> None:
    newer = uuid.uuid4()
    async with system_database.system() as session:
        await open_links(session, [Opening(vps_id, LINK, "1.0")])
        await open_links(session, [Opening(vps_id, newer, "1.0")])
        await close_links(session, [(vps_id, LINK)])
        health = await server_health(session, vps_id)
        assert health is not None
        assert health.reachable
        silent = await server_health(session, vps_id, utc_now() + timedelta(minutes=1))
        assert silent is not None
        assert not silent.reachable
        await close_links(session, [(vps_id, newer)])
    assert await server_row(system_database, "link_session") == (None,)


async def test_the_overview_counts_what_waits_for_each_server(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    await make_sends(system_database, await make_inbox(system_database, tenant, vps_id), 3)
    await make_server(system_database, tenant, status="deleted")
    idle = await make_server(system_database, tenant, status="provisioning")

    async with system_database.system() as session:
        fleet = {each.health.vps_id: (each.waiting, each.queued) for each in await fleet_overview(session)}

    assert fleet == {vps_id: (3, 0), idle: (0, 0)}


async def test_a_tenant_sees_the_health_of_its_own_servers_alone(
    api_database: Database, vps_id: uuid.UUID, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    async with api_database.tenant(tenant.id) as session:
        assert await server_health(session, vps_id) is not None
        assert len(await fleet_overview(session)) == 1
    async with api_database.tenant(other_tenant.id) as session:
        assert await server_health(session, vps_id) is None
        assert await fleet_overview(session) == []
