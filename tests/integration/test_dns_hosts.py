"""Publishing to fakes of Hetzner and Cloudflare: what a customer wrote survives all of it."""

from collections.abc import Iterator

import pytest

from control_plane.dns.extras import Extras, extra_records
from control_plane.dns.plan import PublisherNeedsPerson, PublisherUnavailable
from control_plane.dns.publish import Publisher
from control_plane.dns.publishers.cloudflare import CloudflarePublisher
from control_plane.dns.publishers.hetzner import HetznerPublisher
from control_plane.dns.records import DkimRecordKey, records_for_domain
from tests.fakes.dns_hosts import TOKEN, FakeCloudflare, FakeHetzner, FakeHost, running

ZONE = "acme.example"
# As long as that of an RSA-2048 key: it does not fit into one string of 255 octets.
LONG_KEY = DkimRecordKey("pm1", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A" + "M/+A" * 90)
EXTRAS = extra_records(ZONE, "mx-1.penguin.example", Extras("tls@acme.example", client_records=True))
WANTED = records_for_domain(ZONE, "mx-1.penguin.example", ["192.0.2.7"], [LONG_KEY]) + EXTRAS
VERIFICATION = "site-verification=a;b"


@pytest.fixture(params=[FakeHetzner, FakeCloudflare])
def host(request: pytest.FixtureRequest) -> Iterator[FakeHost]:
    fake: FakeHost = request.param(ZONE, {})
    fake.records |= {("A", "www"): ["198.51.100.2"], ("TXT", "@"): [f'"{VERIFICATION}"']}
    with running(fake):
        yield fake


def publisher(host: FakeHost, token: str = TOKEN) -> Publisher:
    return (
        HetznerPublisher(token, host.url, 0.01)
        if isinstance(host, FakeHetzner)
        else CloudflarePublisher(token, host.url)
    )


def test_ours_is_added_and_taken_out_again_beside_what_others_wrote(host: FakeHost) -> None:
    before = {key: list(values) for key, values in host.records.items()}
    plan = publisher(host).plan(ZONE, WANTED, ())
    publisher(host).apply(plan)

    assert plan.ours == set(WANTED)
    assert host.texts("@") == {VERIFICATION, "v=spf1 ip4:192.0.2.7 ~all"}
    assert host.texts("pm1._domainkey") == {f"v=DKIM1; k=rsa; p={LONG_KEY.public_key}"}
    assert [value.rstrip(".") for value in host.records["MX", "@"]] == ["10 mx-1.penguin.example"]
    assert publisher(host).plan(ZONE, WANTED, plan.ours).changes == ()

    publisher(host).apply(publisher(host).plan(ZONE, (), plan.ours))
    assert host.records.keys() == before.keys()
    assert host.records["A", "www"] == before["A", "www"]
    assert host.texts("@") == {VERIFICATION}


def test_a_server_more_joins_the_spf_record_of_others(host: FakeHost) -> None:
    host.records["TXT", "@"].append('"v=spf1 include:_spf.customer.example -all"')
    plan = publisher(host).plan(ZONE, WANTED, ())
    publisher(host).apply(plan)

    assert host.texts("@") == {VERIFICATION, "v=spf1 include:_spf.customer.example ip4:192.0.2.7 -all"} or (
        host.texts("@") == {VERIFICATION, "v=spf1 ip4:192.0.2.7 include:_spf.customer.example -all"}
    )
    publisher(host).apply(publisher(host).plan(ZONE, (), plan.ours, plan.blends))
    assert host.texts("@") == {VERIFICATION, "v=spf1 include:_spf.customer.example -all"}


def test_a_token_that_is_refused_needs_a_person(host: FakeHost) -> None:
    with pytest.raises(PublisherNeedsPerson) as caught:
        publisher(host, "another token").plan(ZONE, WANTED, ())
    assert "another token" not in str(caught.value)


def test_a_zone_that_is_not_there_needs_a_person(host: FakeHost) -> None:
    with pytest.raises(PublisherNeedsPerson, match=r"no zone other\.example"):
        publisher(host).plan("other.example", [], records_for_domain("other.example", "mx.penguin.example", [], []))


def test_a_host_that_fails_is_asked_again_later(host: FakeHost) -> None:
    host.faults = [(503, {"error": {"code": "unavailable", "message": "later"}})] * 10
    with pytest.raises(PublisherUnavailable):
        publisher(host).plan(ZONE, WANTED, ())


def test_a_host_that_answers_nonsense_is_asked_again_later(host: FakeHost) -> None:
    host.faults = [(200, {"result": [7], "result_info": None})] * 10
    with pytest.raises(PublisherUnavailable):
        publisher(host).plan(ZONE, WANTED, ())


def test_a_value_that_cannot_be_read_is_asked_for_again_later() -> None:
    host = FakeHetzner(ZONE, {("MX", "@"): ["ten mail.acme.example."]})
    with running(host), pytest.raises(PublisherUnavailable):
        publisher(host).plan(ZONE, WANTED, ())


def test_what_is_made_meanwhile_is_not_written_over() -> None:
    host = FakeHetzner(ZONE, {})
    with running(host):
        late = publisher(host).plan(ZONE, WANTED, ())
        host.records["TXT", "_dmarc"] = ['"v=DMARC1; p=reject"']
        with pytest.raises(PublisherUnavailable):
            publisher(host).apply(late)
    assert host.texts("_dmarc") == {"v=DMARC1; p=reject"}
