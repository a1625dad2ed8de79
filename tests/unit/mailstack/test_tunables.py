import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstack.postfix.render import render
from mailstack.spec import MailServerSpec
from mailstack.syntax import InvalidSpec
from mailstack.tunables import ALLOWED, SHIPPED, Tunables
from tests.golden.spec import PLATFORMS, POOLED, SPEC


def main_cf(spec: MailServerSpec, platform: str = "debian-12") -> dict[str, str]:
    """Return Postfix's settings; each may be there once, for postconf refuses what is overridden."""
    files = {file.path: file.content.decode() for file in render(spec, PLATFORMS[platform])}
    lines = re.findall(r"^([a-z0-9_-]+) = ?(.*)$", files["/etc/postfix/main.cf"], re.MULTILINE)
    settings = dict(lines)
    assert len(settings) == len(lines)
    return settings


def test_each_has_bounds_and_what_is_shipped_is_within_them() -> None:
    assert {field.name for field in fields(Tunables)} == set(ALLOWED)
    assert Tunables.of([]) == SHIPPED
    assert SHIPPED.changed == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_destination_concurrency_limit", "0"),
        ("smtp_destination_concurrency_limit", "21"),
        ("smtp_destination_concurrency_limit", "-1"),
        ("smtp_destination_concurrency_limit", "٣"),
        ("smtp_destination_concurrency_limit", "9" * 5000),
        ("smtp_destination_rate_delay", "1s"),
        ("smtp_tls_security_level", "none"),
        ("smtp_tls_security_level", "may\nrelayhost = [evil.example]"),
        ("message_size_limit", "15728639"),
        ("maximal_queue_lifetime", "1"),
        ("relayhost", "[evil.example]"),
    ],
)
def test_what_is_not_on_the_list_or_out_of_bounds_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidSpec, match=name):
        Tunables.of([(name, value)])


def test_what_is_set_twice_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="twice"):
        Tunables.of([("smtp_connect_timeout", "10"), ("smtp_connect_timeout", "20")])


@st.composite
def tunables(draw: st.DrawFn) -> Tunables:
    return Tunables.of((name, str(draw(st.sampled_from(allowed)))) for name, allowed in ALLOWED.items())


@given(tunables())
def test_what_is_changed_says_all_and_is_rendered(tuned: Tunables) -> None:
    assert Tunables.of(tuned.changed.items()) == tuned
    for platform in PLATFORMS:
        before, after = main_cf(SPEC, platform), main_cf(replace(SPEC, tunables=tuned), platform)
        differences = {name: value for name, value in after.items() if before.get(name) != value}
        assert differences == tuned.changed
        assert before.keys() <= after.keys()


def test_each_address_keeps_to_the_delay_and_all_together_to_the_connections() -> None:
    settings = main_cf(
        replace(POOLED, tunables=Tunables(smtp_destination_concurrency_limit=6, smtp_destination_rate_delay=2))
    )
    transports = ("smtp", "out-192-0-2-21", "out-192-0-2-22")
    assert {settings[f"{transport}_destination_rate_delay"] for transport in transports} == {"2"}
    assert [settings[f"{transport}_destination_concurrency_limit"] for transport in transports] == ["2", "2", "2"]
