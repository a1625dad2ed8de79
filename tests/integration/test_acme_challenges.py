"""Records for a certificate authority: published for a server's own names alone, told of once seen, and withdrawn."""

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from control_plane.dns import everywhere
from control_plane.dns.plan import Blend, ZonePlan
from control_plane.dns.publish import Publisher
from control_plane.dns.publishers.chosen import Choice, Kind, choose
from control_plane.dns.publishers.manual import ManualPublisher
from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.dns.records import DnsRecord
from control_plane.dns.resolve import values_of
from control_plane.fleet.policies import Shown, shown_by
from control_plane.provisioning.acme_challenges import SHOWN_FOR, TOLD_AGAIN, look_after_challenges
from control_plane.provisioning.environment import Environment
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from protos.agent.v1.telemetry_pb2 import AcmeChallenge, CertificateIssue, HealthReport
from tests.fakes.powerdns import PowerDns, running_powerdns
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server

ZONE = "fleet.example"
HOST = f"mx-7.{ZONE}"
NAME = f"_acme-challenge.{HOST}"
VALUE, NEXT = "V" * 43, "W" * 43
_LOOPBACK = {"dns_private_endpoints": True}
_REPORT = text(
    "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, report) VALUES (:vps, :tenant, now(), CAST(:report AS"
    " jsonb)) ON CONFLICT (vps_id) DO UPDATE SET report = excluded.report"
)


@pytest.fixture(scope="module")
def running() -> Iterator[PowerDns]:
    with running_powerdns() as server:
        yield server


@dataclass
class World:
    environment: Environment
    powerdns: PowerDns
    tenant: SomeTenant
    vps_id: uuid.UUID

    async def ask(self, *asked: tuple[str, str]) -> None:
        challenges = [AcmeChallenge(name=name, value=value) for name, value in asked]
        issue = CertificateIssue(state="asking", challenges=challenges)
        report = MessageToJson(HealthReport(certificate_issue=issue), preserving_proto_field_name=True)
        async with self.environment.database.system() as session:
            await session.execute(_REPORT, {"vps": self.vps_id, "tenant": self.tenant.id, "report": report})

    async def look(self) -> None:
        await look_after_challenges(self.environment)

    async def set(self, what: str, **values: object) -> None:
        async with self.environment.database.system() as session:
            await session.execute(
                text(f"UPDATE vps_servers SET {what} WHERE id = :id"),  # noqa: S608 - ours
                {"id": self.vps_id, **values},
            )

    def later(self, by: timedelta) -> None:
        now = self.environment.clock() + by
        object.__setattr__(self.environment, "clock", lambda: now)

    async def told(self) -> list[list[str]]:
        async with self.environment.database.system() as session:
            rows = await session.scalars(text("SELECT command FROM server_commands ORDER BY created_at"))
            return [list(Command.FromString(row).issue_certificate.challenges_shown) for row in rows]

    async def noted(self) -> list[str]:
        async with self.environment.database.system() as session:
            notes = await session.scalar(text("SELECT acme_challenges FROM vps_servers"))
        return [note["value"] for note in notes or ()]

    async def shown(self, name: str = NAME) -> tuple[str, ...]:
        return await values_of(name, "TXT", ["127.0.0.1"], self.powerdns.dns_port)


@pytest.fixture
async def world(
    system_database: Database, tenant: SomeTenant, running: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> World:
    async def at_its_port(fqdn: str, record_type: str, nameservers: Sequence[str]) -> tuple[str, ...]:
        return () if record_type == "NS" else await values_of(fqdn, record_type, nameservers, running.dns_port)

    monkeypatch.setattr(everywhere, "values_of", at_its_port)
    with running.client() as client:
        for zone in client.get("/zones").json():
            client.delete(f"/zones/{zone['id']}")
    settings = Settings.model_validate({"state_dir": "/nowhere", "nameservers": ["127.0.0.1"]})
    publisher = PowerDnsPublisher(running.url, running.key, "ns1.penguin.example")
    environment = Environment(system_database, {}, publisher, settings, Sealer(bytes(32)))
    made = World(environment, running, tenant, await make_server(system_database, tenant))
    await made.set("hostname = :host, link_session = gen_random_uuid()", host=HOST)
    return made


async def test_a_record_is_published_told_of_once_and_withdrawn(world: World) -> None:
    await world.ask((NAME, VALUE))
    await world.look()
    await world.look()

    assert await world.shown() == (VALUE,)
    assert await world.told() == [[VALUE]]
    await world.ask()
    await world.look()
    assert await world.shown() == ()
    assert await world.noted() == []
    await world.look()
    assert await world.told() == [[VALUE]]


async def test_a_server_that_still_waits_is_told_again(world: World) -> None:
    await world.ask((NAME, VALUE))
    await world.look()
    await world.set("acme_challenges_told_at = now() - CAST(:by AS interval)", by=TOLD_AGAIN + timedelta(seconds=1))
    await world.look()

    assert await world.told() == [[VALUE]] * 2


async def test_nothing_is_told_before_every_name_server_says_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> tuple[str, ...]:
        return ()

    with monkeypatch.context() as patch:
        patch.setattr(everywhere, "values_of", nothing)
        await world.ask((NAME, VALUE))
        await world.look()
    assert await world.told() == []
    await world.look()
    assert await world.told() == [[VALUE]]


async def test_another_attempt_takes_the_place_of_the_one_before(world: World) -> None:
    await world.ask((NAME, VALUE))
    await world.look()
    await world.ask((NAME, NEXT))
    await world.look()
    await world.look()

    assert await world.shown() == (NEXT,)
    assert await world.told() == [[VALUE], [NEXT]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"_acme-challenge.mx-8.{ZONE}", VALUE),
        (f"_acme-challenge.{ZONE}", VALUE),
        (HOST, VALUE),
        (f"{NAME}.", VALUE),
        (NAME, "v=spf1 +all"),
        (NAME, VALUE + "\n"),
        (NAME, ""),
    ],
)
async def test_a_server_gets_no_record_but_its_own(world: World, name: str, value: str) -> None:
    await world.ask((name, value))
    await world.look()

    assert (await world.noted(), await world.told()) == ([], [])
    with world.powerdns.client() as client:
        assert client.get("/zones").json() == []


@pytest.mark.parametrize("end", ["banned_at = now()", "status = 'deleted'"])
async def test_who_is_banned_or_gone_loses_its_record(world: World, end: str) -> None:
    await world.ask((NAME, VALUE))
    await world.look()
    await world.set(end)
    await world.look()

    assert (await world.shown(), await world.noted()) == ((), [])
    await world.look()
    assert await world.noted() == []


async def test_a_record_outlives_a_lost_link_but_not_its_time(world: World) -> None:
    await world.ask((NAME, VALUE))
    await world.look()
    await world.set("link_session = NULL")
    await world.look()
    assert await world.shown() == (VALUE,)
    world.later(SHOWN_FOR)
    await world.look()
    assert (await world.shown(), await world.noted()) == ((), [])


async def test_what_others_wrote_at_the_name_stays(world: World) -> None:
    world.powerdns.create_zone(ZONE, {("TXT", NAME): ['"somebody else"']})
    await world.ask((NAME, VALUE))
    await world.look()
    assert set(await world.shown()) == {"somebody else", VALUE}
    await world.ask()
    await world.look()
    assert await world.shown() == ("somebody else",)


async def test_a_host_that_is_away_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    away = PowerDnsPublisher("http://127.0.0.1:9", "key", "ns1.penguin.example")
    there = world.environment.publisher
    object.__setattr__(world.environment, "publisher", away)
    await world.ask((NAME, VALUE))
    await world.look()
    assert (await world.noted(), await world.told()) == ([VALUE], [])

    object.__setattr__(world.environment, "publisher", there)
    await world.look()
    assert await world.told() == [[VALUE]]


class _Broken(ManualPublisher):
    """Fails as nobody thought of, for one zone."""

    def __init__(self, there: Publisher) -> None:
        self._there = there

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        if zone != ZONE:
            raise RuntimeError("something nobody thought of")
        return self._there.plan(zone, wanted, written, blended)

    def apply(self, plan: ZonePlan) -> None:
        self._there.apply(plan)


async def test_what_nobody_thought_of_ends_one_servers_turn_and_not_the_round(world: World) -> None:
    others = [World(world.environment, world.powerdns, world.tenant, vps) for vps in await _two_more(world)]
    for number, other in enumerate(others):
        host = f"mx-{number}.broken.example"
        await other.set("hostname = :host, link_session = gen_random_uuid()", host=host)
        await other.ask((f"_acme-challenge.{host}", NEXT))
    object.__setattr__(world.environment, "publisher", _Broken(world.environment.publisher))
    await world.ask((NAME, VALUE))

    await world.look()

    assert await world.told() == [[VALUE]]


async def _two_more(world: World) -> list[uuid.UUID]:
    return [await make_server(world.environment.database, world.tenant) for _ in range(2)]


@pytest.fixture
async def domain(world: World) -> Shown:
    """A domain of the server's, with a policy that leads to it, at the installation's own DNS host."""
    inbox = await make_inbox(world.environment.database, world.tenant, world.vps_id)
    async with world.environment.database.system() as session:
        row = await session.execute(text("UPDATE domains SET mta_sts = 'testing' RETURNING id, name"))
        domain_id, name = row.one()
        await session.execute(
            text(
                "INSERT INTO dns_records (tenant_id, inbox_id, domain, record_type, record_name, record_value, ttl,"
                " verification_status) VALUES (:t, :i, :d, 'A', 'mta-sts', '192.0.2.1', 60, 'verified')"
            ),
            {"t": world.tenant.id, "i": inbox.id, "d": name},
        )
        (shown,) = await shown_by(session, world.vps_id, by_dns=True)
    world.powerdns.create_zone(name, {})
    assert (shown.id, set(shown.certified)) == (domain_id, {"mta-sts"})
    return shown


async def _choose(world: World, domain: Shown, choice: Choice) -> None:
    async with world.environment.database.system() as session:
        await choose(session, world.tenant.id, domain.id, choice, world.environment.sealer)


async def test_records_for_domains_names_lie_in_their_zones_and_all_are_told_of_at_once(
    world: World, domain: Shown
) -> None:
    theirs = f"_acme-challenge.mta-sts.{domain.name}"
    await world.ask((NAME, VALUE), (theirs, NEXT))
    await world.look()

    assert (await world.shown(), await world.shown(theirs)) == ((VALUE,), (NEXT,))
    assert await world.told() == [[VALUE, NEXT]]
    await world.ask()
    await world.look()
    assert (await world.shown(), await world.shown(theirs), await world.noted()) == ((), (), [])


async def test_a_name_that_does_not_lead_to_the_server_is_not_its_own(world: World, domain: Shown) -> None:
    async with world.environment.database.system() as session:
        await session.execute(text("UPDATE dns_records SET verification_status = 'drifted'"))
    await world.ask((NAME, VALUE), (f"_acme-challenge.mta-sts.{domain.name}", NEXT))
    await world.look()
    assert (await world.noted(), await world.told()) == ([], [])


async def test_records_go_to_the_dns_host_that_a_domain_has_chosen(world: World, domain: Shown) -> None:
    theirs = f"_acme-challenge.mta-sts.{domain.name}"
    object.__setattr__(world.environment, "settings", world.environment.settings.model_copy(update=_LOOPBACK))
    own = Choice(Kind.POWERDNS, {"url": world.powerdns.url}, {"api_key": world.powerdns.key})
    await _choose(world, domain, own)
    # The installation's own is away: what is published is published there.
    away = PowerDnsPublisher("http://127.0.0.1:9", "key", "ns1.penguin.example")
    object.__setattr__(world.environment, "publisher", away)
    await world.ask((theirs, NEXT))
    await world.look()

    assert await world.shown(theirs) == (NEXT,)
    assert await world.told() == [[NEXT]]


async def test_a_domains_host_that_is_away_holds_up_no_attempt_for_the_servers_own_name(
    world: World, domain: Shown
) -> None:
    theirs = f"_acme-challenge.mta-sts.{domain.name}"
    await world.ask((NAME, VALUE), (theirs, VALUE))
    await world.look()
    object.__setattr__(world.environment, "settings", world.environment.settings.model_copy(update=_LOOPBACK))
    await _choose(world, domain, Choice(Kind.POWERDNS, {"url": "http://127.0.0.1:9"}, {"api_key": "gone"}))
    await world.ask((NAME, NEXT))
    await world.look()

    assert (await world.shown(), await world.noted()) == ((NEXT,), [NEXT, VALUE])
    assert (await world.told())[-1] == [NEXT]
    # Nobody can take it out any more, and nothing is tried for ever.
    await world.ask()
    world.later(SHOWN_FOR)
    await world.look()
    assert await world.noted() == []
