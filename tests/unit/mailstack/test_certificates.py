import datetime as dt
import ssl

import pytest
from cryptography import x509

from mailstack.certificates import self_signed
from mailstack.certificates.render import render

_NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
_HOST = "mx1.fleet.example"


def test_a_new_certificate_serves_its_host_until_a_month_before_its_end() -> None:
    certificate, _ = self_signed.make(_HOST, _NOW)

    assert self_signed.serves(certificate, _HOST, _NOW)
    assert self_signed.serves(certificate, _HOST, _NOW + dt.timedelta(days=367))
    assert not self_signed.serves(certificate, _HOST, _NOW + dt.timedelta(days=369))
    assert not self_signed.serves(certificate, "mx2.fleet.example", _NOW)


@pytest.mark.parametrize("damaged", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_serves_nobody(damaged: bytes) -> None:
    assert not self_signed.serves(damaged, _HOST, _NOW)


def test_a_name_too_long_for_a_common_name_still_gets_its_certificate() -> None:
    name = f"{'a' * 60}.{'b' * 60}.example"
    certificate, _ = self_signed.make(name, _NOW)

    assert self_signed.serves(certificate, name, _NOW)
    assert x509.load_pem_x509_certificate(certificate).subject


def test_only_root_reads_the_certificate_and_its_key() -> None:
    files = render(*self_signed.make(_HOST, dt.datetime.now(dt.UTC)))

    assert all((file.owner, file.mode) == ("root", 0o600) for file in files)
    assert ssl.PEM_cert_to_DER_cert(files[0].content.decode())
