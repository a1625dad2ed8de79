from dataclasses import replace

import pytest

from mailstack.spec import Alias, CopyDoor, DkimKey, Mailbox, MailDomain, SendingAddress
from mailstack.syntax import InvalidSpec
from tests.golden.spec import NO_REAL_KEY, SPEC

_HASH = SPEC.mailboxes[0].password_hash


def test_the_host_receives_for_its_own_name_and_its_domains() -> None:
    assert SPEC.receiving_domains == (
        "mx1.fleet.example",
        "no-key.example",
        "shop.example",
        "xn--bcher-kva.example",
    )


def test_the_active_key_is_the_one_that_signs() -> None:
    assert SPEC.domains[0].active_key == SPEC.domains[0].dkim_keys[0]
    assert SPEC.domains[2].active_key is None


def test_secrets_are_not_shown() -> None:
    shown = repr(SPEC)

    assert SPEC.probe.password not in shown
    assert "argon2id" not in shown
    assert "PRIVATE KEY" not in shown


def test_two_active_keys_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="more than one active"):
        MailDomain("shop.example", (DkimKey("a", NO_REAL_KEY), DkimKey("b", NO_REAL_KEY)))


def test_an_address_twice_is_refused() -> None:
    alias = Alias(SPEC.mailboxes[0].address, ("someone@elsewhere.example",))

    with pytest.raises(InvalidSpec, match="twice"):
        replace(SPEC, aliases=(alias,))


def test_an_address_in_a_foreign_domain_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="none of the server's domains"):
        replace(SPEC, mailboxes=(Mailbox("jane@elsewhere.example", _HASH),))


def test_a_negative_quota_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="quota"):
        Mailbox("jane@shop.example", _HASH, quota_mb=-1)


def test_an_alias_to_nowhere_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="no target"):
        Alias("sales@shop.example", ())


def test_a_server_without_nameserver_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="nameserver"):
        replace(SPEC, nameservers=())


_ADDRESS = SendingAddress("192.0.2.21", "mx1-a1.fleet.example", ("jane.doe@shop.example",))


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        ((_ADDRESS, replace(_ADDRESS, hostname="mx1-a2.fleet.example", senders=())), "IP address .* twice"),
        ((replace(_ADDRESS, ipv4_address=SPEC.ipv4_address),), "IP address .* twice"),
        ((_ADDRESS, replace(_ADDRESS, ipv4_address="192.0.2.22", senders=())), "host name .* twice"),
        ((_ADDRESS, SendingAddress("192.0.2.22", "mx1-a2.fleet.example", _ADDRESS.senders)), "sender .* twice"),
        ((replace(_ADDRESS, senders=("sales@shop.example",)),), "no mailbox"),
        (tuple(SendingAddress(f"192.0.2.{n}", f"a{n}.fleet.example") for n in range(20, 30)), "more than 9"),
    ],
)
def test_a_sender_has_one_address_and_an_address_one_name(addresses: tuple[SendingAddress, ...], reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        replace(SPEC, sending_addresses=addresses)


@pytest.mark.parametrize(
    "address",
    ["192.0.2.21", "2001:db8::1/64", "fe80::1%eth0", "2001:DB8::1", "2001:db8:0:0::1", "[::1]", "", "$myhostname"],
)
def test_an_ipv6_address_is_nothing_but_one_in_its_usual_form(address: str) -> None:
    with pytest.raises(InvalidSpec):
        replace(SPEC, ipv6_address=address)
    with pytest.raises(InvalidSpec):
        CopyDoor(f"door@{SPEC.hostname}", SPEC.mailboxes[0].password_hash, "a@shop.example", "192.0.2.1", address)


def test_mail_goes_out_over_ipv6_only_by_an_address() -> None:
    assert replace(SPEC, ipv6_address="2001:db8::1", sends_over_ipv6=True)
    with pytest.raises(InvalidSpec, match="without an address"):
        replace(SPEC, sends_over_ipv6=True)


@pytest.mark.parametrize("address", ["192.0.2.21/32 dev eth0", "::1", "$relayhost"])
def test_an_address_is_nothing_but_an_address(address: str) -> None:
    with pytest.raises(InvalidSpec):
        SendingAddress(address, "mx1-a1.fleet.example")


def test_a_certificate_is_for_the_names_that_lead_here() -> None:
    domain = MailDomain("shop.example", client_settings=True)
    assert replace(SPEC, domains=(domain,), mailboxes=(), aliases=()).certified_names == ()
    certified = replace(domain, client_settings_certified=True)
    names = replace(SPEC, domains=(certified,), mailboxes=(), aliases=()).certified_names
    assert names == ("autoconfig.shop.example", "autodiscover.shop.example")


def test_a_domain_whose_names_would_be_too_long_tells_mail_programs_nothing() -> None:
    long = ".".join(["a" * 60] * 4)
    assert MailDomain(long)
    with pytest.raises(InvalidSpec, match="autoconfig"):
        MailDomain(long, client_settings=True)
