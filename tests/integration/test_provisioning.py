"""Servers and inboxes from request to removal: real PostgreSQL and PowerDNS, a provider in memory, an agent played.

The runs are worked on step by step without the job runner, which test_pipelines.py covers.
"""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dkim
import dns.reversename
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from sqlalchemy import Row, text

from control_plane.data_keys.keys import open_sealed
from control_plane.dns.pending import generate_missing, verify_due
from control_plane.dns.problems import REMEDIES, Problem
from control_plane.dns.publishers.chosen import Choice, Kind, choose
from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.dns.records import DnsRecord
from control_plane.dns.resolve import values_of
from control_plane.dns.verify import verify_inbox
from control_plane.enrolment.authority import IssuedCertificate
from control_plane.enrolment.certificates import record_certificate
from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Conflict, NotFound
from control_plane.inboxes.dkim_rotation import domains_due, request_rotation
from control_plane.inboxes.domains import generate_dkim_key
from control_plane.pipelines.runs import start_run
from control_plane.pipelines.worker import Worker
from control_plane.providers.base import Capability
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.mail_flow import MailFlowBroken, ProbeTarget
from control_plane.provisioning.requests import request_removal, request_server
from control_plane.provisioning.steps import rotate_dkim, verify_mail_flow
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.fakes.powerdns import PowerDns, running_powerdns
from tests.fakes.provider import FakeProvider
from tests.integration.database import FreshDatabase, SomeTenant

SEALER = Sealer(bytes(32))
PLATFORM = "penguin.example"
DOMAIN = "acme.example"
SIX = "2001:db8::1"


@pytest.fixture(scope="module")
def running() -> Iterator[PowerDns]:
    with running_powerdns() as server:
        yield server


@pytest.fixture
def powerdns(running: PowerDns) -> Iterator[PowerDns]:
    yield running
    with running.client() as client:
        for zone in client.get("/zones").json():
            client.delete(f"/zones/{zone['id']}")


@dataclass
class World:
    """Everything around the worker, and the worker."""

    database: Database
    tenant: SomeTenant
    provider: FakeProvider
    powerdns: PowerDns
    worker: Worker
    #: By how much time has been turned on.
    later: timedelta = timedelta(0)

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.later

    async def request(self) -> uuid.UUID:
        async with self.database.tenant(self.tenant.id) as session:
            return await request_server(
                session,
                tenant_id=self.tenant.id,
                workspace_id=self.tenant.workspace_id,
                provider="fake",
                size="small",
                region="here",
                platform_domain=PLATFORM,
                sealer=SEALER,
            )

    async def remove(self, vps_id: uuid.UUID) -> None:
        async with self.database.tenant(self.tenant.id) as session:
            await request_removal(session, tenant_id=self.tenant.id, vps_id=vps_id)

    async def start(self, kind: str, subject: uuid.UUID) -> None:
        async with self.database.system() as session:
            await start_run(session, self.tenant.id, kind, subject)

    async def work(self) -> None:
        """Work on all open runs, oldest first, as far as they go now; what waits waits no longer."""
        await self.execute("UPDATE pipeline_steps SET claimed_until = NULL WHERE fencing_token IS NULL")
        opened = "SELECT id, kind FROM pipeline_runs WHERE state IN ('waiting', 'running') ORDER BY created_at"
        for run in await self.rows(opened):
            await self.worker.work_on(run.id, run.kind)

    async def rows(self, query: str, **values: object) -> list[Row[Any]]:
        async with self.database.system() as session:
            return list(await session.execute(text(query), values))

    async def execute(self, statement: str, **values: object) -> None:
        async with self.database.system() as session:
            await session.execute(text(statement), values)

    async def server(self, vps_id: uuid.UUID) -> Row[Any]:
        (server,) = await self.rows("SELECT *, host(ip_address) AS ipv4 FROM vps_servers WHERE id = :id", id=vps_id)
        return server

    async def inbox(self, inbox_id: uuid.UUID) -> Row[Any]:
        (inbox,) = await self.rows("SELECT status, status_reason FROM inboxes WHERE id = :id", id=inbox_id)
        return inbox

    async def agent_connects(self, vps_id: uuid.UUID) -> None:
        issued = IssuedCertificate(b"", uuid.uuid4().hex, datetime.now(UTC) + timedelta(hours=1))
        async with self.database.system() as session:
            await record_certificate(session, AgentIdentity(self.tenant.id, vps_id), issued)
        await self.execute("UPDATE vps_servers SET link_session = gen_random_uuid() WHERE id = :id", id=vps_id)

    async def agent_reports(self, vps_id: uuid.UUID, status: str = "running", detail: str = "verified") -> None:
        await self.execute(
            "UPDATE vps_servers SET mail_server_status = :status, applied_detail = :detail,"
            " applied_version = CASE WHEN :applied THEN desired_version ELSE applied_version END WHERE id = :id",
            id=vps_id,
            status=status,
            applied=status == "running",
            detail=detail,
        )

    async def ready_server(self) -> uuid.UUID:
        vps_id = await self.request()
        await self.work()
        await self.agent_connects(vps_id)
        await self.agent_reports(vps_id)
        await self.work()
        assert (await self.server(vps_id)).status == "ready"
        return vps_id

    async def ready_inbox(self) -> uuid.UUID:
        vps_id = await self.ready_server()
        inbox_id = await self.make_inbox(vps_id)
        await self.work()
        await self.agent_reports(vps_id)
        await self.work()
        assert (await self.inbox(inbox_id)).status == "ready"
        return inbox_id

    async def make_inbox(self, vps_id: uuid.UUID, name: str = "sales") -> uuid.UUID:
        """Insert what `inboxes.create` does, without its slow keys and hashes."""
        domain = (
            "INSERT INTO domains (tenant_id, name) VALUES (:tenant, :name)"
            " ON CONFLICT (name) WHERE deleted_at IS NULL DO UPDATE SET name = excluded.name RETURNING id"
        )
        key = (
            "INSERT INTO dkim_keys (tenant_id, domain_id, selector, private_key_sealed, public_key)"
            " VALUES (:tenant, :domain, 'pm1', '', 'MIIBIjAN') ON CONFLICT DO NOTHING"
        )
        inbox = (
            "INSERT INTO inboxes (tenant_id, workspace_id, domain_id, email_address, vps_id, password_hash)"
            " VALUES (:tenant, :workspace, :domain, :address, :vps, 'x') RETURNING id"
        )
        (domain_row,) = await self.rows(domain, tenant=self.tenant.id, name=DOMAIN)
        await self.execute(key, tenant=self.tenant.id, domain=domain_row.id)
        (inbox_row,) = await self.rows(
            inbox,
            tenant=self.tenant.id,
            workspace=self.tenant.workspace_id,
            domain=domain_row.id,
            address=f"{name}@{DOMAIN}",
            vps=vps_id,
        )
        await self.start("inbox.setup", inbox_row.id)
        inbox_id: uuid.UUID = inbox_row.id
        return inbox_id

    async def choose(self, choice: Choice) -> None:
        async with self.database.system() as session:
            domain_id = (
                await session.execute(text("SELECT id FROM domains WHERE name = :name"), {"name": DOMAIN})
            ).scalar_one()
            await choose(session, self.tenant.id, domain_id, choice, SEALER)

    async def remove_inbox(self, inbox_id: uuid.UUID) -> None:
        await self.execute("UPDATE inboxes SET status = 'deleting' WHERE id = :id", id=inbox_id)
        await self.start("inbox.remove", inbox_id)


@pytest.fixture
def settings(database: FreshDatabase, tmp_path: Path) -> Settings:
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse" / "manifest.json").write_text("{}")
    (tmp_path / "wheelhouse" / "bootstrap.py").write_text("print()\n")
    return Settings.model_validate(
        {
            "state_dir": tmp_path,
            "api_database_url": database.url("penguin_api"),
            "system_database_url": database.url("penguin_system"),
            "redis_url": "unix:///nowhere",
            "platform_domain": PLATFORM,
            "nameservers": ["127.0.0.1"],
        }
    )


@pytest.fixture
def world(
    settings: Settings,
    system_database: Database,
    tenant: SomeTenant,
    powerdns: PowerDns,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setattr("control_plane.pipelines.worker.POLLED_SECONDS", 0.0)
    monkeypatch.setattr(verify_mail_flow, "verify_mail_flow", lambda _: None)
    _ask_at(powerdns, monkeypatch)
    provider = FakeProvider()
    _answer_as_published(provider, powerdns, monkeypatch)
    publisher = PowerDnsPublisher(powerdns.url, powerdns.key, f"ns1.{PLATFORM}")
    world = World(system_database, tenant, provider, powerdns, Worker(system_database, {}))
    environment = Environment(system_database, {"fake": provider}, publisher, settings, SEALER, world.clock)
    world.worker = Worker(system_database, pipelines(environment))
    return world


def _ask_at(powerdns: PowerDns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send questions to the test's own name server; PTR records are the provider's, who is not there."""

    async def at_the_tests_port(
        fqdn: str, record_type: str, nameservers: Sequence[str], _port: int = 53
    ) -> tuple[str, ...]:
        if record_type == "PTR":
            return (await asyncio.to_thread(_only_server, powerdns),)
        return await values_of(fqdn, record_type, nameservers, powerdns.dns_port)

    monkeypatch.setattr("control_plane.dns.verify.values_of", at_the_tests_port)
    monkeypatch.setattr("control_plane.dns.resolve.values_of", at_the_tests_port)
    monkeypatch.setattr("control_plane.dns.everywhere.values_of", at_the_tests_port)


def _answer_as_published(provider: FakeProvider, powerdns: PowerDns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer the preflight from the provider's PTR records and the test's own name server."""

    async def as_published(fqdn: str, record_type: str, nameservers: Sequence[str], _port: int) -> tuple[str, ...]:
        if record_type == "PTR":
            names = {dns.reversename.from_address(each).to_text(): name for each, name in provider.reverse_dns.items()}
            return (names[fqdn],) if fqdn in names else ()
        return await values_of(fqdn, record_type, nameservers, powerdns.dns_port)

    monkeypatch.setattr("control_plane.preflight.reverse_dns.values_of", as_published)


def _only_server(powerdns: PowerDns) -> str:
    (name,) = [name for type_, name in powerdns.zone(PLATFORM) if type_ == "A"]
    return name


# ------------------------------------------------------------------ servers


async def test_a_server_becomes_ready(world: World) -> None:
    vps_id = await world.request()

    await world.work()
    server = await world.server(vps_id)
    assert (server.status, server.ipv4, server.provider_server_id) == ("provisioning", "192.0.2.1", "fake-1")
    assert server.specs == {"cores": 2, "memory_bytes": 4 << 30, "disk_bytes": 40 << 30}
    assert server.desired_version == 2
    await world.agent_connects(vps_id)
    await world.work()
    assert (await world.server(vps_id)).status == "provisioning"
    await world.agent_reports(vps_id)
    await world.work()

    assert (await world.server(vps_id)).status == "ready"
    zone = world.powerdns.zone(PLATFORM)
    assert zone["A", server.hostname] == {"192.0.2.1"}
    assert zone["TXT", server.hostname] == {"v=spf1 a -all"}
    assert world.provider.reverse_dns == {"192.0.2.1": server.hostname}
    steps = await world.rows("SELECT name, state, started_at, finished_at FROM pipeline_steps ORDER BY position")
    assert [step.name for step in steps] == [
        "create_server",
        "start_joining",
        "await_agent",
        "publish_dns",
        "preflight",
        "apply_configuration",
        "verify_mail_flow",
        "await_certificate",
        "ready",
    ]
    assert all(step.state == "done" and step.finished_at >= step.started_at for step in steps)


async def test_the_order_carries_a_join_token_that_is_gone_once_the_agent_is_there(world: World) -> None:
    vps_id = await world.request()
    await world.work()

    (order,) = world.provider.orders
    assert order.name == f"pm-{vps_id.hex[:12]}"
    files = {file["path"]: file["content"] for file in yaml.safe_load(order.user_data)["write_files"]}
    assert "BEGIN CERTIFICATE" in files["/etc/penguin/ca.pem"]
    assert "https://10.77.0.1:7480" in files["/etc/penguin/bootstrap.json"]
    assert len(await world.rows("SELECT FROM join_tokens WHERE vps_id = :id", id=vps_id)) == 1
    await world.agent_connects(vps_id)
    await world.work()
    assert await world.rows("SELECT FROM join_tokens WHERE vps_id = :id", id=vps_id) == []


async def test_a_create_whose_answer_was_lost_is_not_repeated(world: World) -> None:
    world.provider.loses_next_answer = True
    vps_id = await world.request()

    await world.work()
    assert (await world.server(vps_id)).ipv4 is None
    await world.work()

    assert (await world.server(vps_id)).ipv4 == "192.0.2.1"
    assert len(world.provider.orders) == 1


async def test_a_busy_provider_is_waited_for_and_a_refusal_is_final(world: World) -> None:
    world.provider.busy_for = 1
    world.provider.refuses_with = "this account may not have more servers"
    vps_id = await world.request()

    await world.work()
    assert (await world.server(vps_id)).status == "provisioning"
    await world.work()

    server = await world.server(vps_id)
    assert server.status == "failed"
    assert server.status_reason == "the provider refused to create the server: this account may not have more servers"


@pytest.mark.parametrize(("status", "words"), [("refused", "refused by its checkers"), ("rolled_back", "rolled back")])
async def test_a_configuration_that_does_not_hold_fails_the_server(world: World, status: str, words: str) -> None:
    vps_id = await world.request()
    await world.work()
    await world.agent_connects(vps_id)
    await world.agent_reports(vps_id, status, "postfix check: bad line")

    await world.work()

    server = await world.server(vps_id)
    assert server.status == "failed"
    assert server.status_reason == f"the server's configuration was {words}: postfix check: bad line"


async def test_a_server_through_which_no_mail_flows_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(target: ProbeTarget) -> None:
        raise MailFlowBroken(f"{target.mailbox} got nothing")

    monkeypatch.setattr(verify_mail_flow, "verify_mail_flow", broken)
    vps_id = await world.request()
    await world.work()
    await world.agent_connects(vps_id)
    await world.agent_reports(vps_id)
    await world.work()
    await world.execute("UPDATE pipeline_steps SET started_at = now() - interval '1 day' WHERE state = 'waiting'")

    await world.work()

    server = await world.server(vps_id)
    assert server.status == "failed"
    assert server.status_reason == f"penguin-probe@{server.hostname} got nothing; given up after 3 minutes"


async def test_removal_leaves_nothing_of_the_server_and_nothing_of_others_missing(world: World) -> None:
    world.powerdns.create_zone(PLATFORM, {("A", f"www.{PLATFORM}"): ["198.51.100.7"]})
    before = world.powerdns.zone(PLATFORM)
    vps_id = await world.ready_server()

    await world.remove(vps_id)
    await world.remove(vps_id)
    for _ in range(3):
        await world.work()

    assert (await world.server(vps_id)).status == "deleted"
    assert world.provider.servers == {}
    assert world.provider.reverse_dns == {}
    assert world.powerdns.zone(PLATFORM) == before
    assert await world.rows("SELECT FROM agent_certificates WHERE vps_id = :id AND revoked_at IS NULL", id=vps_id) == []
    assert len(await world.rows("SELECT FROM pipeline_runs WHERE kind = 'vps.decommission'")) == 1


def _with_ipv6(provider: FakeProvider) -> None:
    provider.ipv6_address = SIX
    provider.capabilities = FakeProvider.capabilities | {Capability.REVERSE_DNS_V6}


async def test_an_ipv6_address_is_named_both_ways_sent_from_and_leaves_nothing(world: World) -> None:
    world.powerdns.create_zone(PLATFORM, {("A", f"www.{PLATFORM}"): ["198.51.100.7"]})
    before = world.powerdns.zone(PLATFORM)
    _with_ipv6(world.provider)
    vps_id = await world.ready_server()

    server = await world.server(vps_id)
    assert (str(server.ipv6_address), server.desired_version) == (SIX, 3)
    assert server.ipv6_sending_since is not None
    assert world.powerdns.zone(PLATFORM)["AAAA", server.hostname] == {SIX}
    assert world.provider.reverse_dns == {"192.0.2.1": server.hostname, SIX: server.hostname}

    await world.remove(vps_id)
    for _ in range(3):
        await world.work()
    assert world.powerdns.zone(PLATFORM) == before
    assert world.provider.reverse_dns == {}


async def test_a_provider_that_names_no_ipv6_address_gives_a_server_that_sends_nothing_over_it(world: World) -> None:
    world.provider.ipv6_address = SIX
    vps_id = await world.ready_server()

    server = await world.server(vps_id)
    assert (str(server.ipv6_address), server.ipv6_sending_since, server.desired_version) == (SIX, None, 2)
    assert world.powerdns.zone(PLATFORM)["AAAA", server.hostname] == {SIX}
    (warning,) = await world.rows("SELECT detail FROM preflight_results WHERE kind = 'reverse_dns_v6'")
    assert warning.detail == f"{SIX} has no PTR record; it should name {server.hostname}; nothing is sent over IPv6"


async def test_an_inbox_needs_the_ipv6_records_of_a_server_for_as_long_as_it_sends_from_there(world: World) -> None:
    _with_ipv6(world.provider)
    inbox_id = await world.ready_inbox()

    async def kinds() -> list[str]:
        rows = await world.rows("SELECT record_type FROM dns_records WHERE inbox_id = :id ORDER BY 1", id=inbox_id)
        return [row.record_type for row in rows if row.record_type != "TXT"]

    assert await kinds() == ["A", "AAAA", "MX", "PTR", "PTR"]
    assert world.powerdns.zone(DOMAIN)["TXT", DOMAIN] == {f"v=spf1 ip4:192.0.2.1 ip6:{SIX} ~all"}
    await world.execute("UPDATE vps_servers SET ipv6_sending_since = NULL")
    await generate_missing(world.database)
    assert await kinds() == ["A", "MX", "PTR"]
    assert await world.rows("SELECT FROM dns_records WHERE record_value LIKE :ip6", ip6=f"%ip6:{SIX}%")
    await world.execute("UPDATE vps_servers SET ipv6_sending_since = now()")
    await generate_missing(world.database)
    assert await kinds() == ["A", "AAAA", "MX", "PTR", "PTR"]


async def test_removal_stops_what_is_still_being_made(world: World) -> None:
    vps_id = await world.request()
    await world.work()

    await world.remove(vps_id)
    for _ in range(3):
        await world.work()

    assert (await world.server(vps_id)).status == "deleted"
    assert world.provider.servers == {}
    (provision,) = await world.rows("SELECT state, error FROM pipeline_runs WHERE kind = 'vps.provision'")
    assert (provision.state, provision.error) == ("failed", "the server's removal was asked for")


async def test_a_server_with_inboxes_or_of_another_tenant_is_not_removed(
    world: World, other_tenant: SomeTenant
) -> None:
    vps_id = await world.ready_server()
    await world.make_inbox(vps_id)

    with pytest.raises(Conflict, match="1 inbox"):
        await world.remove(vps_id)
    async with world.database.system() as session:
        with pytest.raises(NotFound):
            await request_removal(session, tenant_id=other_tenant.id, vps_id=vps_id)


# ------------------------------------------------------------------ inboxes


async def test_an_inbox_becomes_ready(world: World) -> None:
    vps_id = await world.ready_server()
    inbox_id = await world.make_inbox(vps_id)

    await world.work()
    assert (await world.inbox(inbox_id)).status == "pending_setup"
    assert (await world.server(vps_id)).mail_server_status == "configuring"
    await world.agent_reports(vps_id)
    await world.work()

    assert tuple(await world.inbox(inbox_id)) == ("ready", None)
    records = await world.rows("SELECT * FROM dns_records ORDER BY record_type, domain, record_name")
    assert {record.verification_status for record in records} == {"verified"}
    assert [(r.record_type, r.domain, r.record_name) for r in records] == [
        ("A", PLATFORM, (await world.server(vps_id)).hostname.partition(".")[0]),
        ("MX", DOMAIN, "@"),
        ("PTR", "2.0.192.in-addr.arpa", "1"),
        ("TXT", DOMAIN, "@"),
        ("TXT", DOMAIN, "_dmarc"),
        ("TXT", DOMAIN, "pm1._domainkey"),
        ("TXT", PLATFORM, (await world.server(vps_id)).hostname.partition(".")[0]),
    ]
    assert {r.record_type for r in records if r.published_at} == {"MX", "TXT"}


async def test_an_inbox_waits_for_its_server(world: World) -> None:
    vps_id = await world.request()
    inbox_id = await world.make_inbox(vps_id)

    await world.work()
    assert (await world.inbox(inbox_id)).status == "pending_setup"
    await world.agent_connects(vps_id)
    for _ in range(4):
        await world.agent_reports(vps_id)
        await world.work()

    assert (await world.inbox(inbox_id)).status == "ready"


async def test_an_inbox_on_a_server_that_failed_says_so(world: World) -> None:
    world.provider.refuses_with = "no more servers"
    inbox_id = await world.make_inbox(await world.request())

    await world.work()

    inbox = await world.inbox(inbox_id)
    assert inbox.status == "failed"
    assert "no more servers" in inbox.status_reason


async def test_what_stands_in_the_tenants_zone_is_left_and_reported_until_it_is_mended(world: World) -> None:
    spf = "v=spf1 include:_spf.other.example -all"
    two = [f'"{spf}"', '"v=spf1 mx -all"']
    world.powerdns.create_zone(DOMAIN, {("TXT", DOMAIN): [*two, '"site=1"'], ("A", DOMAIN): ["198.51.100.1"]})
    before = world.powerdns.zone(DOMAIN)
    vps_id = await world.ready_server()
    inbox_id = await world.make_inbox(vps_id)
    await world.work()
    await world.agent_reports(vps_id)
    await world.work()

    inbox = await world.inbox(inbox_id)
    assert inbox.status == "pending_dns"
    assert spf in inbox.status_reason
    assert "Join all SPF records into one" in inbox.status_reason
    (mismatch,) = await world.rows("SELECT * FROM dns_records WHERE verification_status = 'mismatch'")
    assert mismatch.problem == "spf_two_records"
    await asyncio.to_thread(_replace_txt, world.powerdns, [f'"{spf[:-5]} ip4:192.0.2.1 -all"', '"site=1"'])
    await verify_inbox(world.database, inbox_id, world.tenant.id, ["127.0.0.1"])

    assert tuple(await world.inbox(inbox_id)) == ("ready", None)
    await world.remove_inbox(inbox_id)
    await world.work()
    after = world.powerdns.zone(DOMAIN)
    assert {key: values for key, values in after.items() if key != ("TXT", DOMAIN)} == {
        key: values for key, values in before.items() if key != ("TXT", DOMAIN)
    }


def _replace_txt(powerdns: PowerDns, values: list[str]) -> None:
    records = [{"content": value, "disabled": False} for value in values]
    rrset = {"name": f"{DOMAIN}.", "type": "TXT", "ttl": 300, "changetype": "REPLACE", "records": records}
    with powerdns.client() as client:
        client.patch(f"/zones/{DOMAIN}.", json={"rrsets": [rrset]}).raise_for_status()


async def test_the_tenants_own_spf_record_is_joined_and_put_back(world: World) -> None:
    theirs = "v=spf1 a:www.acme.example -all"
    world.powerdns.create_zone(DOMAIN, {("TXT", DOMAIN): [f'"{theirs}"'], ("A", f"www.{DOMAIN}"): ["198.51.100.1"]})
    inbox_id = await world.ready_inbox()

    assert world.powerdns.zone(DOMAIN)["TXT", DOMAIN] == {"v=spf1 ip4:192.0.2.1 a:www.acme.example -all"}
    assert tuple(await world.inbox(inbox_id)) == ("ready", None)
    await world.remove_inbox(inbox_id)
    await world.work()

    assert world.powerdns.zone(DOMAIN)["TXT", DOMAIN] == {theirs}


async def test_drift_is_shown_on_record_and_inbox_and_mended_by_its_owner(world: World) -> None:
    inbox_id = await world.ready_inbox()
    good = world.powerdns.zone(DOMAIN)["TXT", DOMAIN]

    await asyncio.to_thread(_replace_txt, world.powerdns, ['"v=spf1 mx -all"'])
    await verify_inbox(world.database, inbox_id, world.tenant.id, ["127.0.0.1"])
    drifted = await world.rows("SELECT * FROM dns_records WHERE verification_status <> 'verified'")
    inbox = await world.inbox(inbox_id)
    await asyncio.to_thread(_replace_txt, world.powerdns, [f'"{value}"' for value in good])
    await verify_inbox(world.database, inbox_id, world.tenant.id, ["127.0.0.1"])

    assert [(r.verification_status, r.problem) for r in drifted] == [("drifted", "spf_without_our_servers")]
    assert "v=spf1 mx -all" in drifted[0].verification_detail
    assert inbox.status == "ready"
    assert "TXT @ in acme.example" in inbox.status_reason
    assert tuple(await world.inbox(inbox_id)) == ("ready", None)


async def test_one_repair_brings_a_drifted_zone_back(world: World) -> None:
    inbox_id = await world.ready_inbox()
    good = world.powerdns.zone(DOMAIN)
    await asyncio.to_thread(_replace_txt, world.powerdns, ['"v=spf1 mx -all"', '"site=1"'])
    await verify_inbox(world.database, inbox_id, world.tenant.id, ["127.0.0.1"])

    await world.start("inbox.repair_dns", inbox_id)
    await world.work()

    (run,) = await world.rows("SELECT state FROM pipeline_runs WHERE kind = 'inbox.repair_dns'")
    assert run.state == "done"
    assert world.powerdns.zone(DOMAIN) == good | {("TXT", DOMAIN): {"v=spf1 ip4:192.0.2.1 mx -all", "site=1"}}
    assert tuple(await world.inbox(inbox_id)) == ("ready", None)


async def test_a_zone_that_is_written_by_hand_is_left_to_that_hand(world: World) -> None:
    inbox_id = await world.ready_inbox()
    await asyncio.to_thread(_replace_txt, world.powerdns, ['"v=spf1 mx -all"'])
    drifted = world.powerdns.zone(DOMAIN)
    await world.choose(Choice(Kind.MANUAL))

    await world.start("inbox.repair_dns", inbox_id)
    await world.work()

    assert world.powerdns.zone(DOMAIN) == drifted
    (record,) = await world.rows("SELECT problem FROM dns_records WHERE verification_status = 'drifted'")
    assert record.problem == "spf_without_our_servers"


async def test_a_dns_host_that_may_not_be_used_waits_for_a_person_and_goes_on_with_another(world: World) -> None:
    inbox_id = await world.ready_inbox()
    good = world.powerdns.zone(DOMAIN)
    await asyncio.to_thread(_replace_txt, world.powerdns, ['"v=spf1 ip4:192.0.2.1 mx -all"'])
    drifted = world.powerdns.zone(DOMAIN)
    await world.choose(Choice(Kind.POWERDNS, {"url": world.powerdns.url}, {"api_key": world.powerdns.key}))
    await world.remove_inbox(inbox_id)
    await world.work()

    (run,) = await world.rows("SELECT state, error, remedy FROM pipeline_runs WHERE kind = 'inbox.remove'")
    assert (run.state, world.powerdns.zone(DOMAIN)) == ("needs_person", drifted)
    assert "not public" in run.error
    assert "another publisher" in run.remedy
    await world.choose(Choice())
    await world.execute("UPDATE pipeline_runs SET state = 'waiting' WHERE state = 'needs_person'")
    await world.work()
    assert ("MX", DOMAIN) not in world.powerdns.zone(DOMAIN)
    assert ("MX", DOMAIN) in good


async def test_a_zone_that_ignores_updates_is_named(world: World) -> None:
    vps_id = await world.ready_server()
    inbox_id = await world.make_inbox(vps_id)
    await world.work()
    await world.agent_reports(vps_id)
    with world.powerdns.client() as client:
        client.delete(f"/zones/{DOMAIN}.").raise_for_status()
    world.powerdns.create_zone(DOMAIN, {})
    await world.work()
    early = await world.rows("SELECT DISTINCT problem FROM dns_records WHERE verification_status = 'mismatch'")
    await world.execute("UPDATE dns_records SET applied_at = applied_at - interval '11 minutes'")
    await verify_inbox(world.database, inbox_id, world.tenant.id, ["127.0.0.1"])

    assert [row.problem for row in early] == ["missing"]
    late = await world.rows("SELECT * FROM dns_records WHERE verification_status = 'mismatch'")
    assert {row.problem for row in late} == {"zone_ignores_updates"}
    assert "delegated" in late[0].verification_detail
    assert (await world.inbox(inbox_id)).status == "pending_dns"


async def test_what_is_verified_is_looked_at_daily_and_the_rest_each_time(world: World) -> None:
    await world.ready_inbox()
    (verified,) = await world.rows("SELECT max(last_verified_at) AS at FROM dns_records")

    async def looked_at_after(age: timedelta) -> bool:
        await verify_due(world.database, ("127.0.0.1",), verified.at + age)
        (latest,) = await world.rows("SELECT max(last_verified_at) AS at FROM dns_records")
        return bool(latest.at > verified.at)

    assert not await looked_at_after(timedelta(hours=23))
    assert await looked_at_after(timedelta(hours=24))
    (verified,) = await world.rows("SELECT max(last_verified_at) AS at FROM dns_records")
    await world.execute("UPDATE dns_records SET verification_status = 'drifted' WHERE record_type = 'MX'")
    assert await looked_at_after(timedelta(0))


async def test_the_last_inbox_takes_its_domain_along_and_the_first_does_not(world: World) -> None:
    vps_id = await world.ready_server()
    first, second = await world.make_inbox(vps_id), await world.make_inbox(vps_id, "support")
    for _ in range(2):
        await world.work()
        await world.agent_reports(vps_id)
    await world.work()
    published = world.powerdns.zone(DOMAIN)
    version = (await world.server(vps_id)).desired_version

    await world.remove_inbox(first)
    await world.work()
    assert world.powerdns.zone(DOMAIN) == published
    assert (await world.server(vps_id)).desired_version > version
    assert len(await world.rows("SELECT FROM domains")) == 1
    await world.remove_inbox(second)
    await world.work()

    assert {type_ for type_, _ in world.powerdns.zone(DOMAIN)} == {"NS"}
    for table in ("inboxes", "domains", "dkim_keys", "dns_records"):
        assert await world.rows(f"SELECT FROM {table}") == []


async def test_a_second_server_of_a_domain_joins_its_spf_record(world: World) -> None:
    first_server = await world.ready_server()
    await world.make_inbox(first_server)
    await world.work()
    await world.agent_reports(first_server)
    await world.work()
    second_server = await world.request()
    for _ in range(2):
        await world.work()
        await world.agent_connects(second_server)
        await world.agent_reports(second_server)
    await world.work()

    await world.make_inbox(second_server, "support")
    await world.work()

    assert world.powerdns.zone(DOMAIN)["TXT", DOMAIN] == {"v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 ~all"}
    values = await world.rows("SELECT DISTINCT record_value FROM dns_records WHERE record_value LIKE 'v=spf1 ip4%'")
    assert [row.record_value for row in values] == ["v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 ~all"]


async def test_removal_ends_a_setup_that_still_waits(world: World) -> None:
    vps_id = await world.request()
    inbox_id = await world.make_inbox(vps_id)
    await world.work()

    await world.remove_inbox(inbox_id)
    await world.work()

    assert await world.rows("SELECT FROM inboxes") == []
    states = await world.rows("SELECT DISTINCT state FROM pipeline_runs WHERE subject_id = :id", id=inbox_id)
    assert {row.state for row in states} == {"failed", "done"}


# ------------------------------------------------------------------ DKIM keys


@dataclass
class Mail:
    """Mail of the domain, signed by the server with the key that it has applied, and looked at while it travels."""

    world: World
    selector: str = ""
    private_key: bytes = b""
    travelling: list[tuple[datetime, bytes]] = field(default_factory=list)

    async def server_applies(self) -> None:
        (server,) = await self.world.rows("SELECT id FROM vps_servers")
        (key,) = await self.world.rows("SELECT * FROM dkim_keys WHERE active")
        async with self.world.database.system() as session:
            der = await open_sealed(session, SEALER, key.private_key_sealed, f"dkim_keys.private_key:{key.id}")
        self.selector = key.selector
        self.private_key = load_der_private_key(der, None).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
        await self.world.agent_reports(server.id)

    async def flows(self) -> None:
        """Sign one more, and verify all that receivers may still have to look at."""
        message = f"From: sales@{DOMAIN}\r\nSubject: Fish\r\n\r\nHerring {len(self.travelling)}.\r\n".encode()
        signature = dkim.sign(message, self.selector.encode(), DOMAIN.encode(), self.private_key)
        self.travelling.append((self.world.clock(), signature + message))
        zone = await asyncio.to_thread(self.world.powerdns.zone, DOMAIN)
        for signed_at, signed in self.travelling:
            if self.world.clock() - signed_at <= timedelta(days=2, hours=12):
                assert dkim.verify(signed, dnsfunc=partial(_txt, zone)), (self.selector, sorted(zone))


def _txt(zone: dict[tuple[str, str], set[str]], name: bytes, timeout: int = 5) -> bytes:
    return next(iter(zone.get(("TXT", name.decode().rstrip(".")), {""}))).encode()


@pytest.fixture
async def mail(world: World) -> Mail:
    inbox_id = await world.ready_inbox()
    key = generate_dkim_key("pm1", SEALER)
    await world.execute(
        "UPDATE dkim_keys SET id = :id, public_key = :public, private_key_sealed = :sealed",
        id=key.id,
        public=key.public_key,
        sealed=key.private_key_sealed,
    )
    await world.start("inbox.repair_dns", inbox_id)
    await world.work()
    mail = Mail(world)
    await mail.server_applies()
    await mail.flows()
    return mail


async def rotate(world: World) -> uuid.UUID:
    (domain,) = await world.rows("SELECT id FROM domains")
    async with world.database.system() as session:
        return await request_rotation(session, world.tenant.id, domain.id)


async def keys(world: World) -> dict[str, str]:
    return {row.selector: row.state for row in await world.rows("SELECT selector, state FROM dkim_keys")}


async def waiting_for(world: World) -> str:
    (step,) = await world.rows(
        "SELECT s.name FROM pipeline_steps s JOIN pipeline_runs r ON r.id = s.run_id"
        " WHERE r.kind = 'domain.rotate_dkim' AND s.state = 'waiting' ORDER BY s.position LIMIT 1"
    )
    name: str = step.name
    return name


async def test_a_dkim_key_is_changed_without_a_message_that_cannot_be_verified(world: World, mail: Mail) -> None:
    assert await rotate(world) == await rotate(world)
    for _ in range(2):
        await world.work()
        await mail.flows()
    assert (await keys(world), await waiting_for(world)) == ({"pm1": "retiring", "pm2": "active"}, "await_switch")
    assert mail.selector == "pm1"

    world.later = timedelta(days=9)
    await world.work()
    await mail.flows()
    assert await waiting_for(world) == "await_switch"

    await mail.server_applies()
    assert mail.selector == "pm2"
    for hours in (0, 24, 59, 71):
        world.later = timedelta(days=9, hours=hours)
        await world.work()
        await mail.flows()
        assert (await keys(world), await waiting_for(world)) == ({"pm1": "retiring", "pm2": "active"}, "retire_key")

    (before,) = await world.rows("SELECT desired_version FROM vps_servers")
    world.later = timedelta(days=12, hours=1)
    await world.work()
    await mail.flows()

    assert await keys(world) == {"pm2": "active"}
    zone = world.powerdns.zone(DOMAIN)
    assert [name for _, name in zone if "_domainkey" in name] == [f"pm2._domainkey.{DOMAIN}"]
    records = await world.rows("SELECT record_name FROM dns_records WHERE record_name LIKE '%domainkey'")
    assert [row.record_name for row in records] == ["pm2._domainkey"]
    (run,) = await world.rows("SELECT state FROM pipeline_runs WHERE kind = 'domain.rotate_dkim'")
    assert run.state == "done"
    (after,) = await world.rows("SELECT desired_version FROM vps_servers")
    assert after.desired_version > before.desired_version


async def test_nothing_is_signed_with_a_key_that_one_name_server_does_not_have(
    world: World, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_is_behind(record: DnsRecord, nameservers: Sequence[str]) -> list[str]:
        return ["192.0.2.53"]

    with monkeypatch.context() as patch:
        patch.setattr(rotate_dkim, "servers_without", one_is_behind)
        await rotate(world)
        for _ in range(2):
            await world.work()
            await mail.server_applies()
            await mail.flows()
        assert (await keys(world), mail.selector) == ({"pm1": "active", "pm2": "next"}, "pm1")
        (step,) = await world.rows("SELECT error FROM pipeline_steps WHERE name = 'verify_key'")
        assert "192.0.2.53" in step.error

    await world.work()
    await mail.server_applies()
    await mail.flows()
    assert (await keys(world), mail.selector) == ({"pm1": "retiring", "pm2": "active"}, "pm2")


async def test_what_stands_at_the_new_keys_name_is_told_to_a_person(world: World, mail: Mail) -> None:
    rrset = {
        "name": f"pm2._domainkey.{DOMAIN}.",
        "type": "TXT",
        "ttl": 300,
        "changetype": "REPLACE",
        "records": [{"content": '"v=DKIM1; p=theirs"', "disabled": False}],
    }
    with world.powerdns.client() as client:
        client.patch(f"/zones/{DOMAIN}.", json={"rrsets": [rrset]}).raise_for_status()

    await rotate(world)
    await world.work()
    await mail.flows()

    (run,) = await world.rows("SELECT * FROM pipeline_runs WHERE kind = 'domain.rotate_dkim'")
    assert run.state == "needs_person"
    assert "pm2._domainkey.acme.example has v=DKIM1; p=theirs" in run.error
    assert run.remedy == REMEDIES[Problem.DKIM_OTHER_KEY]
    assert await keys(world) == {"pm1": "active", "pm2": "next"}


async def test_a_domain_that_goes_ends_the_change_of_its_key(world: World, mail: Mail) -> None:
    await rotate(world)
    await world.work()
    (inbox,) = await world.rows("SELECT id FROM inboxes")
    await world.remove_inbox(inbox.id)
    for _ in range(2):
        await world.work()

    assert await keys(world) == {}
    (run,) = await world.rows("SELECT state, error FROM pipeline_runs WHERE kind = 'domain.rotate_dkim'")
    assert (run.state, run.error) == ("failed", "the domain is gone, or its last inbox")


async def test_keys_are_due_by_the_time_they_have_signed(world: World, mail: Mail) -> None:
    async def due(before: datetime) -> int:
        async with world.database.system() as session:
            return len(await domains_due(session, before))

    assert await due(datetime.now(UTC) - timedelta(days=1)) == 0
    assert await due(datetime.now(UTC)) == 1
    await rotate(world)
    assert await due(datetime.now(UTC)) == 0
