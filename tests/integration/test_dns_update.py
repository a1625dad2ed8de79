"""Publishing by RFC 2136 with TSIG to a real PowerDNS: what a customer wrote survives, and nobody's change is lost."""

import base64
import socketserver
import threading
from collections.abc import Iterator

import dns.tsig
import pytest

from control_plane.dns.extras import Extras, extra_records
from control_plane.dns.judge import Verdict, judge
from control_plane.dns.plan import PlanRefused, PublisherUnavailable
from control_plane.dns.publishers.rfc2136 import Primary, Rfc2136Publisher
from control_plane.dns.records import DkimRecordKey, DnsRecord, records_for_domain
from control_plane.dns.resolve import values_of
from tests.fakes.powerdns import PowerDns, running_powerdns

ZONE = "acme.example"
LONG_KEY = DkimRecordKey("pm1", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A" + "M/+A" * 90)
EXTRAS = extra_records(ZONE, "mx-1.penguin.example", Extras("tls@acme.example", client_records=True))
WANTED = records_for_domain(ZONE, "mx-1.penguin.example", ["192.0.2.7"], [LONG_KEY]) + EXTRAS
CUSTOMER = {
    ("A", f"www.{ZONE}"): ["198.51.100.1"],
    ("TXT", ZONE): ['"v=spf1 a:www.acme.example -all"', '"site-verification=a;b \\"quoted\\""'],
}


@pytest.fixture(scope="module")
def powerdns() -> Iterator[PowerDns]:
    with running_powerdns() as server:
        yield server


@pytest.fixture(scope="module")
def key(powerdns: PowerDns) -> dns.tsig.Key:
    powerdns.create_zone("first.example", {})
    secret = powerdns.allow_updates("first.example", "penguin")
    return dns.tsig.Key("penguin", base64.b64decode(secret), dns.tsig.HMAC_SHA256)


@pytest.fixture
def publisher(powerdns: PowerDns, key: dns.tsig.Key) -> Iterator[Rfc2136Publisher]:
    powerdns.create_zone(ZONE, CUSTOMER)
    with powerdns.client() as client:
        metadata = {"kind": "TSIG-ALLOW-DNSUPDATE", "metadata": ["penguin"]}
        client.put(f"/zones/{ZONE}./metadata/TSIG-ALLOW-DNSUPDATE", json=metadata).raise_for_status()
        yield Rfc2136Publisher(Primary("127.0.0.1", powerdns.dns_port, key))
        client.delete(f"/zones/{ZONE}.")


async def test_what_is_published_is_verified_and_withdrawn_without_a_trace(
    powerdns: PowerDns, publisher: Rfc2136Publisher
) -> None:
    before = powerdns.zone(ZONE)

    plan = publisher.plan(ZONE, WANTED, ())
    publisher.apply(plan)
    for record in WANTED:
        found = await values_of(record.fqdn, record.type, ["127.0.0.1"], powerdns.dns_port)
        assert judge(record, found).verdict is Verdict.VERIFIED, found
    again = publisher.plan(ZONE, WANTED, plan.ours, plan.blends)
    publisher.apply(publisher.plan(ZONE, (), plan.ours, plan.blends))

    assert plan.conflicts == ()
    assert (again.changes, again.ours, again.blends) == ((), plan.ours, plan.blends)
    assert powerdns.zone(ZONE) == before


def test_a_change_in_between_is_not_written_over(powerdns: PowerDns, publisher: Rfc2136Publisher) -> None:
    late = publisher.plan(ZONE, WANTED, ())
    other = [DnsRecord(ZONE, "MX", "@", "10 mail.other.example")]
    publisher.apply(publisher.plan(ZONE, other, ()))
    between = powerdns.zone(ZONE)

    with pytest.raises(PublisherUnavailable, match="changed meanwhile"):
        publisher.apply(late)

    assert powerdns.zone(ZONE) == between


def test_a_key_that_is_not_known_is_refused_with_a_reason(powerdns: PowerDns, publisher: Rfc2136Publisher) -> None:
    stranger = Rfc2136Publisher(
        Primary("127.0.0.1", powerdns.dns_port, dns.tsig.Key("stranger", bytes(32), dns.tsig.HMAC_SHA256))
    )
    with pytest.raises(PlanRefused):
        stranger.plan(ZONE, WANTED, ())


def test_a_zone_that_allows_others_only_is_refused_and_stays(powerdns: PowerDns, publisher: Rfc2136Publisher) -> None:
    with powerdns.client() as client:
        metadata = {"kind": "TSIG-ALLOW-DNSUPDATE", "metadata": ["somebody"]}
        client.put(f"/zones/{ZONE}./metadata/TSIG-ALLOW-DNSUPDATE", json=metadata).raise_for_status()
    before = powerdns.zone(ZONE)

    with pytest.raises(PlanRefused, match="allow updates"):
        publisher.apply(publisher.plan(ZONE, WANTED, ()))

    assert powerdns.zone(ZONE) == before


def test_a_primary_that_is_away_is_unavailable(key: dns.tsig.Key) -> None:
    with pytest.raises(PublisherUnavailable):
        Rfc2136Publisher(Primary("127.0.0.1", 1, key)).plan(ZONE, WANTED, ())


def test_a_primary_that_hangs_up_is_unavailable(key: dns.tsig.Key) -> None:
    class HangsUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)

    with socketserver.TCPServer(("127.0.0.1", 0), HangsUp) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            with pytest.raises(PublisherUnavailable):
                Rfc2136Publisher(Primary("127.0.0.1", server.server_address[1], key)).plan(ZONE, WANTED, ())
        finally:
            server.shutdown()
