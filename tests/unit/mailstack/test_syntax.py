import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstack.syntax import (
    InvalidSpec,
    require_address,
    require_domain,
    require_ipv4,
    require_mta_sts_policy,
    require_outside_address,
    require_password_hash,
    require_private_key,
    require_probe_password,
    require_selector,
)

_HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"
_KEY = b"-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n"

#: Anything in here means something to a lookup table, a users file, a path, a template or a configuration file.
_DANGEROUS = re.compile(r"[\s:,;#\"\\/*$%{}()<>|!`\x00-\x20\x7f-\U0010ffff]")


@pytest.mark.parametrize("name", ["shop.example", "a-1.b.example", "xn--bcher-kva.example", f"{'a' * 63}.example"])
def test_domain_names_are_accepted(name: str) -> None:
    require_domain(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "localhost", "Shop.example", "shop.example.", ".example", "a..example", "-a.example", "a-.example"),
        *(
            "bücher.example",
            "a_b.example",
            "10.0.0.1",
            f"{'a' * 64}.example",
            "a.example\n",
            "a.example OK",
            "*.example",
        ),
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_no_domain_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec):
        require_domain(name)


@pytest.mark.parametrize("address", ["jane.doe@shop.example", "_dmarc-reports@shop.example", "0@shop.example"])
def test_addresses_are_accepted(address: str) -> None:
    require_address(address)
    require_outside_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("", "jane", "@shop.example", "jane@", "jane@localhost", "Jane@shop.example", "jane+x@shop.example"),
        *(
            ".jane@shop.example",
            "jane.@shop.example",
            "j..d@shop.example",
            "../jane@shop.example",
            "#jane@shop.example",
        ),
        *("jane@shop.example\n", "jane@shop.example OK\nroot", "jane:x@shop.example", '"j d"@shop.example'),
        f"{'a' * 65}@shop.example",
    ],
)
def test_what_is_no_address_of_ours_is_refused(address: str) -> None:
    with pytest.raises(InvalidSpec):
        require_address(address)


@pytest.mark.parametrize("address", ["O'Neil+shop@elsewhere.example", "a=b&c@elsewhere.example"])
def test_addresses_elsewhere_may_hold_more(address: str) -> None:
    require_outside_address(address)
    with pytest.raises(InvalidSpec):
        require_address(address)


@pytest.mark.parametrize("address", ["|/bin/sh@elsewhere.example", "a,b@elsewhere.example", "/etc/x@elsewhere.example"])
def test_what_an_alias_could_run_or_overwrite_is_refused(address: str) -> None:
    with pytest.raises(InvalidSpec):
        require_outside_address(address)


@given(text=st.text() | st.from_regex(r"[ -~\s]{0,9}@[a-z]{1,9}\.example\s?"))
@pytest.mark.parametrize("require", [require_domain, require_selector, require_address, require_outside_address])
def test_nothing_that_passes_means_anything_to_a_file(require: Callable[[str], None], text: str) -> None:
    try:
        require(text)
    except InvalidSpec:
        return
    assert not _DANGEROUS.search(text)
    assert ".." not in text
    assert not text.startswith((".", "-"))


def test_only_argon2id_hashes_are_accepted() -> None:
    require_password_hash(_HASH)
    for wrong in ["", "{PLAIN}secret", _HASH + "\n", _HASH + ":0:0::/root", _HASH.removeprefix("{ARGON2ID}")]:
        with pytest.raises(InvalidSpec) as refused:
            require_password_hash(wrong)
        assert "secret" not in str(refused.value)


def test_only_one_pkcs8_key_is_accepted() -> None:
    require_private_key(_KEY)
    for wrong in [b"", _KEY + _KEY, _KEY[:-1], _KEY.replace(b"PRIVATE", b"RSA PRIVATE"), _KEY + b"rest"]:
        with pytest.raises(InvalidSpec):
            require_private_key(wrong)


def test_a_probe_password_is_long_and_printable() -> None:
    require_probe_password("sixteen-or-more-characters")
    for wrong in ["short", "sixteen or more characters", "sixteen-or-more-characters\n"]:
        with pytest.raises(InvalidSpec) as refused:
            require_probe_password(wrong)
        assert wrong.strip() not in str(refused.value)


def test_addresses_of_hosts_are_in_their_usual_form() -> None:
    require_ipv4("192.0.2.11")
    for wrong in ["", "192.0.2.256", "192.0.2.011", "2001:db8::1", "192.0.2.11\n", "mx1.example"]:
        with pytest.raises(InvalidSpec):
            require_ipv4(wrong)


_POLICY = "version: STSv1\nmode: enforce\nmx: mx1.fleet.example\nmax_age: 604800\n"


def test_only_policies_that_mean_nothing_to_a_web_server_are_accepted() -> None:
    require_mta_sts_policy(_POLICY)
    for wrong in [
        "",
        _POLICY[:-1],
        _POLICY + "more: $host\n",
        _POLICY.replace("mx1", '";return 301 "'),
        _POLICY.replace("mx1", "$host"),
        _POLICY.replace("mx1", "*"),
        _POLICY.replace("mx1", "mx1\\"),
        _POLICY.replace("enforce", "none"),
        _POLICY.replace("mx: mx1.fleet.example\n", ""),
        _POLICY.replace("\n", "\r\n"),
        _POLICY.replace("604800", "-1"),
    ]:
        with pytest.raises(InvalidSpec):
            require_mta_sts_policy(wrong)
