"""Publishing to a real PowerDNS, and verifying at it: what a customer wrote survives all of it."""

from collections.abc import Iterator

import pytest

from control_plane.dns.extras import Extras, extra_records
from control_plane.dns.judge import Verdict, judge
from control_plane.dns.plan import PlanRefused, PublisherUnavailable, ZonePlan
from control_plane.dns.problems import Problem
from control_plane.dns.publish import publish
from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.dns.records import DkimRecordKey, DnsRecord, records_for_domain
from control_plane.dns.resolve import NoAnswer, values_of
from tests.fakes.powerdns import PowerDns, running_powerdns

ZONE = "acme.example"
# As long as that of an RSA-2048 key: it does not fit into one string of 255 octets.
LONG_KEY = DkimRecordKey("pm1", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A" + "M/+A" * 90)
EXTRAS = extra_records(ZONE, "mx-1.penguin.example", Extras("tls@acme.example", client_records=True))
WANTED = records_for_domain(ZONE, "mx-1.penguin.example", ["192.0.2.7"], [LONG_KEY]) + EXTRAS
CUSTOMER = {
    ("A", f"ns1.{ZONE}"): ["198.51.100.1"],
    ("A", ZONE): ["198.51.100.2"],
    ("TXT", ZONE): ['"site-verification=a;b \\"quoted\\""', '"in two " "strings"'],
    ("CAA", ZONE): ['0 issue "ca.example"'],
}


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


@pytest.fixture
def publisher(powerdns: PowerDns) -> PowerDnsPublisher:
    return PowerDnsPublisher(powerdns.url, powerdns.key, "ns1.penguin.example")


async def test_what_is_published_is_verified_at_the_zones_server(
    powerdns: PowerDns, publisher: PowerDnsPublisher
) -> None:
    plan = publisher.plan(ZONE, WANTED, ())
    publisher.apply(plan)

    assert plan.ours == set(WANTED)
    for record in WANTED:
        found = await values_of(record.fqdn, record.type, ["127.0.0.1"], powerdns.dns_port)
        assert judge(record, found).verdict is Verdict.VERIFIED, found
        assert found == (record.value,)
    assert powerdns.zone(ZONE)["NS", ZONE] == {"ns1.penguin.example."}


def test_publishing_again_plans_nothing(publisher: PowerDnsPublisher) -> None:
    publisher.apply(publisher.plan(ZONE, WANTED, ()))

    again = publisher.plan(ZONE, WANTED, WANTED)

    assert again.changes == ()
    assert again.ours == set(WANTED)


def test_what_the_customer_wrote_survives_publishing_and_withdrawing(
    powerdns: PowerDns, publisher: PowerDnsPublisher
) -> None:
    powerdns.create_zone(ZONE, CUSTOMER)
    before = powerdns.zone(ZONE)

    plan = publisher.plan(ZONE, WANTED, ())
    publisher.apply(plan)
    published = powerdns.zone(ZONE)
    publisher.apply(publisher.plan(ZONE, (), plan.ours))

    assert all(values <= published[key] for key, values in before.items())
    assert published["TXT", ZONE] - before["TXT", ZONE] == {"v=spf1 ip4:192.0.2.7 ~all"}
    assert powerdns.zone(ZONE) == before


def test_a_changed_record_replaces_the_one_we_wrote(powerdns: PowerDns, publisher: PowerDnsPublisher) -> None:
    publisher.apply(publisher.plan(ZONE, WANTED, ()))
    two_servers = records_for_domain(ZONE, "mx-1.penguin.example", ["192.0.2.7", "192.0.2.8"], [LONG_KEY]) + EXTRAS

    plan = publisher.plan(ZONE, two_servers, WANTED)
    publisher.apply(plan)

    assert str(plan) == (
        f"zone {ZONE}\n- @ TXT v=spf1 ip4:192.0.2.7 ~all\n+ @ TXT v=spf1 ip4:192.0.2.7 ip4:192.0.2.8 ~all"
    )
    assert powerdns.zone(ZONE)["TXT", ZONE] == {"v=spf1 ip4:192.0.2.7 ip4:192.0.2.8 ~all"}


def test_the_customers_own_spf_is_joined_and_left_as_it_was(powerdns: PowerDns, publisher: PowerDnsPublisher) -> None:
    powerdns.create_zone(ZONE, {("TXT", ZONE): ['"v=spf1 include:_spf.other.example -all"', '"site=1"']})
    before = powerdns.zone(ZONE)

    plan = publisher.plan(ZONE, WANTED, ())
    publisher.apply(plan)
    joined = powerdns.zone(ZONE)
    again = publisher.plan(ZONE, WANTED, plan.ours, plan.blends)
    publisher.apply(publisher.plan(ZONE, (), plan.ours, plan.blends))

    assert joined["TXT", ZONE] == {"v=spf1 ip4:192.0.2.7 include:_spf.other.example -all", "site=1"}
    assert (again.changes, again.blends, again.conflicts) == ((), plan.blends, ())
    assert powerdns.zone(ZONE) == before


async def test_an_spf_record_that_asks_too_much_is_not_joined(powerdns: PowerDns, publisher: PowerDnsPublisher) -> None:
    costly = " ".join(["v=spf1", *(f"a:w{n}.{ZONE}" for n in range(11)), "-all"])
    hosts = {("A", f"w{n}.{ZONE}"): ["198.51.100.3"] for n in range(11)}
    powerdns.create_zone(ZONE, {("TXT", ZONE): [f'"{costly}"'], **hosts})
    remembered: list[ZonePlan] = []

    async def remember(plan: ZonePlan) -> None:
        remembered.append(plan)

    async def ask(name: str, record_type: str) -> tuple[str, ...]:
        return await values_of(name, record_type, ["127.0.0.1"], powerdns.dns_port)

    plan = await publish(publisher, ZONE, WANTED, (), remember, ask=ask)

    assert [conflict.problem for conflict in plan.conflicts] == [Problem.SPF_TOO_MANY_LOOKUPS]
    assert remembered == [plan]
    assert plan.blends == ()
    assert powerdns.zone(ZONE)["TXT", ZONE] == {costly}
    assert ("MX", ZONE) in powerdns.zone(ZONE)


async def test_an_alias_where_the_mx_must_be_is_seen_by_the_question(powerdns: PowerDns) -> None:
    powerdns.create_zone(ZONE, {("CNAME", f"mail.{ZONE}"): [f"www.{ZONE}."], ("A", f"www.{ZONE}"): ["198.51.100.2"]})

    assert await values_of(f"mail.{ZONE}", "MX", ["127.0.0.1"], powerdns.dns_port) == (f"CNAME www.{ZONE}",)


def test_a_plan_made_before_a_foreign_change_is_refused_by_the_inspection(
    powerdns: PowerDns, publisher: PowerDnsPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If merging ever forgot a foreign value, the second lock holds."""
    powerdns.create_zone(ZONE, {("A", f"www.{ZONE}"): ["198.51.100.9"]})
    forgetful = DnsRecord(ZONE, "A", "www", "192.0.2.7")
    monkeypatch.setattr("control_plane.dns.merge._foreign_values", lambda *_: frozenset())

    with pytest.raises(PlanRefused, match=r"198\.51\.100\.9"):
        publisher.plan(ZONE, [forgetful], ())


def test_a_host_that_is_away_is_unavailable() -> None:
    publisher = PowerDnsPublisher("http://127.0.0.1:1", "key", "ns1.penguin.example")

    with pytest.raises(PublisherUnavailable):
        publisher.plan(ZONE, WANTED, ())


async def test_absence_is_an_answer_and_silence_is_not(powerdns: PowerDns) -> None:
    powerdns.create_zone(ZONE, {})

    assert await values_of(f"nothing.{ZONE}", "TXT", ["127.0.0.1"], powerdns.dns_port) == ()
    assert await values_of(ZONE, "MX", ["127.0.0.1"], powerdns.dns_port) == ()
    with pytest.raises(NoAnswer):
        await values_of("elsewhere.example", "MX", ["127.0.0.1"], powerdns.dns_port)
