import dataclasses
import datetime as dt
import json

import pytest

from mailstack import layout
from mailstack.certificates import self_signed
from mailstack.certificates.pair import InvalidPair, is_self_signed, renewal_time, require_servable, unpack
from mailstack.certificates.render import render_order, render_pair
from mailstack.spec import CertificateAuthority
from mailstack.syntax import InvalidSpec
from tests.golden.spec import SPEC
from tests.unit.agent.acme.pairs import issued

_NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
_HOST = "mx1.fleet.example"


def test_our_own_certificate_serves_its_host_until_a_month_before_its_end() -> None:
    pair = self_signed.make(_HOST, _NOW)

    assert is_self_signed(pair.certificate)
    assert self_signed.still_serves(pair.packed, _HOST, _NOW)
    assert self_signed.still_serves(pair.packed, _HOST, _NOW + dt.timedelta(days=367))
    assert not self_signed.still_serves(pair.packed, _HOST, _NOW + dt.timedelta(days=369))
    assert not self_signed.still_serves(pair.packed, "mx2.fleet.example", _NOW)


def test_a_short_lived_certificate_of_an_authority_stays_to_its_end() -> None:
    pair = issued(_HOST, _NOW, dt.timedelta(days=6))

    assert not is_self_signed(pair.certificate)
    assert self_signed.still_serves(pair.packed, _HOST, _NOW + dt.timedelta(days=5, hours=23))
    assert not self_signed.still_serves(pair.packed, _HOST, _NOW + dt.timedelta(days=6))


@pytest.mark.parametrize("days", [6, 64, 90])
def test_renewal_is_due_after_two_thirds_of_the_certificates_own_life(days: int) -> None:
    pair = issued(_HOST, _NOW, dt.timedelta(days=days))
    assert renewal_time(pair.certificate) == _NOW + dt.timedelta(days=days) * 2 / 3


@pytest.mark.parametrize("damaged", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_pair_serves_nobody(damaged: bytes) -> None:
    assert not self_signed.still_serves(damaged, _HOST, _NOW)


def test_a_certificate_is_not_served_with_another_ones_key() -> None:
    pair = dataclasses.replace(issued(_HOST, _NOW, dt.timedelta(days=6)), key_pem=self_signed.make(_HOST, _NOW).key_pem)
    with pytest.raises(InvalidPair, match="another key"):
        require_servable(pair, _HOST, _NOW)


def test_a_name_too_long_for_a_common_name_still_gets_its_certificate() -> None:
    name = f"{'a' * 60}.{'b' * 60}.example"
    pair = self_signed.make(name, _NOW)

    assert self_signed.still_serves(pair.packed, name, _NOW)
    assert pair.certificate.subject


def test_key_and_chain_lie_in_one_file_that_only_root_reads() -> None:
    pair = self_signed.make(_HOST, _NOW)
    file = render_pair(pair)

    assert (file.path, file.owner, file.mode) == (layout.TLS_PAIR, "root", 0o600)
    assert file.content.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert unpack(file.content) == pair


def test_the_order_says_which_certificate_is_wanted_from_whom() -> None:
    assert render_order(SPEC) == ()
    authority = CertificateAuthority("https://acme.example/directory", "ops@fleet.example", by_dns=True)
    (file,) = render_order(dataclasses.replace(SPEC, authority=authority))

    assert json.loads(file.content) == {
        "hostname": SPEC.hostname,
        "directory_url": "https://acme.example/directory",
        "account_email": "ops@fleet.example",
        "roots_pem": "",
        "port_on_request": False,
        "by_dns": True,
        "further_names": [],
    }
    assert file.services == ()


@pytest.mark.parametrize(
    ("url", "email", "roots"),
    [
        ("http://acme.example/directory", "ops@fleet.example", b""),
        ("https://acme.example/dir?x=1", "ops@fleet.example", b""),
        ("https://acme.example/a b", "ops@fleet.example", b""),
        ("--server", "ops@fleet.example", b""),
        ("https://acme.example/directory", "--force", b""),
        ("https://acme.example/directory", "ops@fleet.example", b"no certificate"),
    ],
)
def test_an_authority_that_could_mean_something_else_cannot_be_named(url: str, email: str, roots: bytes) -> None:
    with pytest.raises(InvalidSpec):
        CertificateAuthority(url, email, roots)
