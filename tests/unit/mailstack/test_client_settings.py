from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from mailstack.nginx.client_settings import outlook_settings, thunderbird_settings

_OUTLOOK = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"
#: Whatever XML 1.0 has as characters, and often those that mean something to XML or nginx.
_VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")) | st.sampled_from("&<>\"'$\\{};%#"))


@given(_VALUES, _VALUES)
def test_whatever_a_domain_is_called_thunderbird_reads_just_that(domain: str, hostname: str) -> None:
    settings = thunderbird_settings(domain, hostname)
    provider = _read(settings)[0]

    assert [provider.get("id"), provider.findtext("domain"), provider.findtext("displayName")] == [domain] * 3
    assert [host.text or "" for host in provider.iter("hostname")] == [hostname] * 3
    _assert_nothing_for_nginx(settings)


@given(_VALUES)
def test_whatever_a_server_is_called_outlook_reads_just_that(hostname: str) -> None:
    settings = outlook_settings(hostname)
    protocols = list(_read(settings).iter(f"{_OUTLOOK}Protocol"))

    assert [protocol.findtext(f"{_OUTLOOK}Server") for protocol in protocols] == [hostname] * 2
    assert settings.count("$http_x_login_name") == 2
    _assert_nothing_for_nginx(settings.replace("$http_x_login_name", ""))


def _read(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 - we wrote it


def _assert_nothing_for_nginx(text: str) -> None:
    """Nothing ends the quotes that it stands between, is filled in, or is read on together with what follows."""
    assert not set("'$\\") & set(text)


def test_programs_are_told_of_tls_from_the_first_byte_before_starttls() -> None:
    provider = _read(thunderbird_settings("shop.example", "mx1.fleet.example"))[0]
    doors = [(door.get("type"), door.findtext("port"), door.findtext("socketType")) for door in provider.iterfind("*")]

    assert [door for door in doors if door[0]] == [
        ("imap", "993", "SSL"),
        ("smtp", "465", "SSL"),
        ("smtp", "587", "STARTTLS"),
    ]
