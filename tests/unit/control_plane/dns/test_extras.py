import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.dns.extras import Extras, extra_records
from control_plane.dns.records import DnsRecord
from control_plane.dns.tls_reports import TlsReportsBroken, parse_tls_reports

HOST = "mx-1.penguin.example"


def test_nothing_is_there_that_was_not_asked_for() -> None:
    assert extra_records("acme.example", HOST, Extras()) == ()


def test_mail_programs_are_shown_tls_from_the_first_byte_before_starttls() -> None:
    assert extra_records("acme.example", HOST, Extras(client_records=True)) == (
        DnsRecord("acme.example", "SRV", "_imaps._tcp", f"0 1 993 {HOST}"),
        DnsRecord("acme.example", "SRV", "_submissions._tcp", f"0 1 465 {HOST}"),
        DnsRecord("acme.example", "SRV", "_submission._tcp", f"10 1 587 {HOST}"),
    )


def test_mail_programs_ask_the_server_that_has_the_mailboxes() -> None:
    assert extra_records("acme.example", HOST, Extras(settings_address="192.0.2.11")) == (
        DnsRecord("acme.example", "A", "autoconfig", "192.0.2.11"),
        DnsRecord("acme.example", "A", "autodiscover", "192.0.2.11"),
        DnsRecord("acme.example", "SRV", "_autodiscover._tcp", "0 1 443 autodiscover.acme.example"),
    )


def test_tls_reports_go_where_they_were_asked_to() -> None:
    (record,) = extra_records("acme.example", HOST, Extras("tls@acme.example"))

    assert record == DnsRecord("acme.example", "TXT", "_smtp._tls", "v=TLSRPTv1; rua=mailto:tls@acme.example")


@given(st.text(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=64))
def test_whatever_an_address_is_called_the_record_is_sound_and_names_it_alone(local_part: str) -> None:
    (record,) = extra_records("acme.example", HOST, Extras(f"{local_part}@acme.example"))

    (uri,) = parse_tls_reports(record.value)
    assert uri.endswith("@acme.example")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "v=TLSRPTv2; rua=mailto:a@acme.example",
        "v=tlsrptv1; rua=mailto:a@acme.example",
        "v=TLSRPTv1;",
        "v=TLSRPTv1; rua=",
        "v=TLSRPTv1; rua=mailto:a@acme.example; rua=mailto:b@acme.example",
        "v=TLSRPTv1; rua=mailto:a@acme.example!10m",
        "v=TLSRPTv1; rua=http://acme.example/reports",
    ],
)
def test_what_nobody_would_report_by_is_broken(value: str) -> None:
    with pytest.raises(TlsReportsBroken):
        parse_tls_reports(value)
