import re
from dataclasses import replace

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from mailstack.dovecot.render import render as render_dovecot
from mailstack.opendkim.render import render as render_opendkim
from mailstack.postfix.render import render as render_postfix
from mailstack.postfix.shares import PROCESSES
from mailstack.rendered_file import OnChange, RenderedFile
from mailstack.spec import (
    MAX_SENDING_ADDRESSES,
    Alias,
    Mailbox,
    MailDomain,
    MailServerSpec,
    Platform,
    SendingAddress,
)
from mailstack.syntax import InvalidSpec
from mailstack.tunables import SHIPPED
from tests.golden.spec import NAMED, PLATFORMS, SPEC, UNNAMED

_DEBIAN_12 = PLATFORMS["debian-12"]
_HASH = SPEC.mailboxes[0].password_hash
_NAMES = st.from_regex(r"[ -~\s]{1,12}") | st.text(max_size=12) | st.from_regex(r"[a-z0-9._-]{1,12}", fullmatch=True)


def _spec_with(name: str, domain: str, target: str) -> MailServerSpec | None:
    try:
        return replace(
            SPEC,
            domains=(MailDomain(f"{domain}.example"),),
            mailboxes=(Mailbox(f"{name}@{domain}.example", _HASH),),
            aliases=(Alias(f"{name}.alias@{domain}.example", (target,)),),
        )
    except InvalidSpec:
        return None


def _lines(file: RenderedFile) -> list[str]:
    return file.content.decode().split("\n")[:-1]


@given(name=_NAMES, domain=_NAMES, target=_NAMES.map("{}@elsewhere.example".format))
def test_no_name_adds_a_line_or_a_column_to_any_file(name: str, domain: str, target: str) -> None:
    spec = _spec_with(name, domain, target)
    if spec is None:
        return
    files = {file.path.rpartition("/")[2]: file for file in render_postfix(spec, _DEBIAN_12)}

    assert len(_lines(files["domains"])) == len(spec.receiving_domains)
    assert len(_lines(files["mailboxes"])) == len(spec.mailboxes) + 1
    for table in ("domains", "mailboxes", "senders"):
        assert all(len(line.split()) == 2 for line in _lines(files[table]))
    assert f"{name}.alias@{domain}.example {target}" in _lines(files["aliases"])
    assert files["main.cf"] == next(f for f in render_postfix(SPEC, _DEBIAN_12) if f.path.endswith("main.cf"))


def test_an_alias_may_be_used_as_sender_by_the_mailboxes_behind_it_only() -> None:
    senders = next(file for file in render_postfix(SPEC, _DEBIAN_12) if file.path.endswith("senders"))

    assert "sales@shop.example jane.doe@shop.example" in _lines(senders)
    assert "elsewhere" not in senders.content.decode()


def test_only_active_keys_are_written_and_sign() -> None:
    files = {file.path: file for file in render_opendkim(SPEC, _DEBIAN_12)}
    keys = [path for path in files if path.endswith(".pem")]

    assert keys == [
        "/etc/opendkim/keys/shop.example/pm2.pem",
        "/etc/opendkim/keys/xn--bcher-kva.example/pm1.pem",
    ]
    assert all((files[key].owner, files[key].mode) == ("opendkim", 0o600) for key in keys)
    assert b"pm1.pem" not in files["/etc/opendkim/key.table"].content.splitlines()[0]


def test_a_new_mailbox_reloads_nothing() -> None:
    more = replace(SPEC, mailboxes=(*SPEC.mailboxes, Mailbox("new@shop.example", _HASH)))
    renderers = (render_postfix, render_dovecot, render_opendkim)
    before = {file for render in renderers for file in render(SPEC, _DEBIAN_12)}
    changed = [file for render in renderers for file in render(more, _DEBIAN_12) if file not in before]

    assert sorted(file.path for file in changed) == [
        "/etc/dovecot/users",
        "/etc/postfix/maps/mailboxes",
        "/etc/postfix/maps/senders",
    ]
    assert {file.on_change for file in changed} == {OnChange.NOTHING}


def test_the_probe_can_log_in_with_its_password() -> None:
    users = next(file for file in render_dovecot(SPEC, _DEBIAN_12) if file.path.endswith("users"))
    hashes = dict(line.split(":", 1) for line in _lines(users))

    PasswordHasher().verify(hashes[SPEC.probe.address].removeprefix("{ARGON2ID}"), SPEC.probe.password)


@pytest.mark.parametrize("platform", PLATFORMS.values())
@pytest.mark.parametrize(
    ("spec", "leave_by_ipv6"),
    [(SPEC, set()), (UNNAMED, set()), (replace(NAMED, sends_over_ipv6=False), set()), (NAMED, {"smtp", "relay"})],
)
def test_only_the_servers_own_transports_leave_by_ipv6_once_its_address_is_named(
    spec: MailServerSpec, platform: Platform, leave_by_ipv6: set[str]
) -> None:
    files = {file.path: file.content.decode() for file in render_postfix(spec, platform)}
    listens = "inet_protocols = all\n" in files["/etc/postfix/main.cf"]
    services = re.findall(r"^(\S+) +unix .* smtp\n((?:[ #].*\n)*)", files["/etc/postfix/master.cf"], re.MULTILINE)

    assert listens == (spec.ipv6_address is not None)
    assert len(services) == 2 + len(spec.sending_addresses)
    assert {name for name, options in services if listens and "-o inet_protocols=ipv4" not in options} == leave_by_ipv6
    assert ("smtp_bind_address6 = 2001:db8:1::1\n" in files["/etc/postfix/main.cf"]) == bool(leave_by_ipv6)


@pytest.mark.parametrize("count", range(1, MAX_SENDING_ADDRESSES + 1))
def test_all_addresses_together_open_no_more_connections_than_one_would(count: int) -> None:
    addresses = tuple(SendingAddress(f"192.0.2.{n}", f"a{n}.fleet.example") for n in range(20, 20 + count))
    files = {f.path: f.content.decode() for f in render_postfix(replace(SPEC, sending_addresses=addresses), _DEBIAN_12)}
    limits = re.findall(
        r"^(?:smtp|out-[0-9-]+)_destination_concurrency_limit = ([0-9]+)$", files["/etc/postfix/main.cf"], re.MULTILINE
    )

    assert len(limits) == count + 1
    assert sum(map(int, limits)) <= SHIPPED.smtp_destination_concurrency_limit
    assert "default_destination_concurrency_limit = 10\n" in files["/etc/postfix/main.cf"]
    assert f"default_process_limit = {PROCESSES}\n" in files["/etc/postfix/main.cf"]
