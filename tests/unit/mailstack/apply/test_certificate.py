import dataclasses
import datetime as dt
import json

import pytest

from mailstack import layout
from mailstack.apply.certificate import install
from mailstack.apply.converge import Outcome, converge, recover
from mailstack.apply.desired import RECORD, drifted_paths
from mailstack.apply.doors import NotServed
from mailstack.certificates.pair import Pair, unpack
from mailstack.rendered_file import Service
from mailstack.spec import CertificateAuthority, MailServerSpec
from tests.fakes.host import FakeHost, PowerCut
from tests.golden.spec import POLICIES, SPEC
from tests.unit.agent.acme.pairs import issued

_SPEC = dataclasses.replace(SPEC, authority=CertificateAuthority("https://acme.example/dir", "ops@fleet.example"))
_DAY = dt.timedelta(days=1)


def _passes(_spec: MailServerSpec, _certificate: bytes) -> str:
    return "mail flows"


def _shown(_chain: bytes) -> str:
    return "every door shows it"


def _not_shown(_chain: bytes) -> str:
    raise NotServed("port 993 still shows another certificate")


@pytest.fixture
def host() -> FakeHost:
    host = FakeHost()
    assert converge(_SPEC, host, _passes).outcome is Outcome.APPLIED
    host.told.clear()
    return host


def _pair(host: FakeHost, hostname: str = SPEC.hostname) -> Pair:
    return issued(hostname, host.now() - _DAY, 6 * _DAY)


def test_an_issued_certificate_is_served_after_a_reload_of_the_two_that_show_it(host: FakeHost) -> None:
    pair = _pair(host)
    outcome = install(pair, host, _shown)

    assert (outcome.outcome, outcome.detail) == (Outcome.APPLIED, "every door shows it")
    assert unpack(host.files[layout.TLS_PAIR].content) == pair
    assert host.files[layout.TLS_PAIR].mode == 0o600
    assert host.told == ["reload dovecot", "reload postfix"]


def test_nothing_but_the_key_and_the_chain_reaches_the_file(host: FakeHost) -> None:
    pair = _pair(host)
    noisy = Pair(b"\xff before\n" + pair.chain_pem + b"ssl_key = </etc/shadow\n", pair.key_pem + b"between\n")

    assert install(noisy, host, _shown).outcome is Outcome.APPLIED
    assert host.files[layout.TLS_PAIR].content == pair.packed


def test_a_chain_with_what_is_no_certificate_is_refused(host: FakeHost) -> None:
    pair, before = _pair(host), host.files[layout.TLS_PAIR]
    broken = Pair(pair.chain_pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pair.key_pem)

    outcome = install(broken, host, _shown)

    assert (outcome.outcome, outcome.detail) == (Outcome.REFUSED, "the chain holds what is no certificate")
    assert host.files[layout.TLS_PAIR] == before


def test_the_next_apply_keeps_it_and_touches_nothing(host: FakeHost) -> None:
    pair = _pair(host)
    install(pair, host, _shown)
    host.told.clear()

    assert converge(_SPEC, host, _passes).touched == ()
    assert unpack(host.files[layout.TLS_PAIR].content) == pair
    # An authority that is set no longer takes its certificate not away either.
    assert converge(SPEC, host, _passes).outcome is Outcome.APPLIED
    assert unpack(host.files[layout.TLS_PAIR].content) == pair
    assert layout.CERTIFICATE_ORDER not in host.files


def test_a_renewal_is_no_drift_and_leaves_the_hash_of_what_was_applied(host: FakeHost) -> None:
    before = converge(_SPEC, host, _passes).files_sha256
    record = host.files[RECORD]
    install(_pair(host), host, _shown)

    assert drifted_paths(host) == ()
    assert converge(_SPEC, host, _passes).files_sha256 == before
    assert host.files[RECORD] == record
    del host.files[layout.TLS_PAIR]
    assert drifted_paths(host) == (layout.TLS_PAIR,)


def test_what_a_door_does_not_show_is_put_back(host: FakeHost) -> None:
    before = dict(host.files)
    outcome = install(_pair(host), host, _not_shown)

    assert (outcome.outcome, outcome.detail) == (Outcome.ROLLED_BACK, "port 993 still shows another certificate")
    assert host.files == before
    assert host.told == ["reload dovecot", "reload postfix"] * 2


def test_a_daemon_that_does_not_reload_has_it_put_back(host: FakeHost) -> None:
    before = dict(host.files)
    host.broken = {Service.DOVECOT}
    outcome = install(_pair(host), host, _shown)

    assert outcome.outcome is Outcome.ROLLED_BACK
    assert host.files == before


def test_a_process_that_dies_half_way_leaves_what_the_next_one_puts_back(host: FakeHost) -> None:
    before = dict(host.files)

    def dies(_chain: bytes) -> str:
        raise PowerCut

    with pytest.raises(PowerCut):
        install(_pair(host), host, dies)
    assert recover(host)
    assert host.files == before


def test_what_is_no_good_is_refused_and_nothing_touched(host: FakeHost) -> None:
    before = dict(host.files)
    good = _pair(host)
    refused = [
        _pair(host, "somebody.else.example"),
        dataclasses.replace(good, key_pem=_pair(host).key_pem),
        issued(SPEC.hostname, host.now() - 2 * _DAY, _DAY),
        Pair(b"no certificate", good.key_pem),
        Pair(good.chain_pem, b"no key"),
    ]
    assert {install(pair, host, _shown).outcome for pair in refused} == {Outcome.REFUSED}
    assert host.files == before
    assert host.told == []


def test_a_server_that_has_ordered_none_takes_none() -> None:
    host = FakeHost()
    converge(SPEC, host, _passes)
    assert install(_pair(host), host, _shown).outcome is Outcome.REFUSED


def test_a_web_server_that_runs_takes_an_issued_certificate_up_as_well(host: FakeHost) -> None:
    spec = dataclasses.replace(POLICIES, authority=_SPEC.authority)
    assert converge(spec, host, _passes).outcome is Outcome.APPLIED
    host.told.clear()

    assert install(_pair(host), host, _shown).outcome is Outcome.APPLIED
    assert host.told == ["reload dovecot", "reload postfix", "reload nginx"]
    assert json.loads(host.files[layout.CERTIFICATE_ORDER].content)["further_names"] == ["mta-sts.shop.example"]
