"""Whose mail servers an attempt went to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.destinations import OTHER, PROVIDERS, provider_of, provider_of_attempt


@pytest.mark.parametrize(
    ("relay", "recipient", "provider"),
    [
        ("gmail-smtp-in.l.google.com[192.0.2.1]:25", "a@gmail.com", "google"),
        ("aspmx.l.google.com[192.0.2.1]:25", "a@shop.example", "google"),
        ("shop-example.mail.protection.outlook.com[192.0.2.1]:25", "a@shop.example", "microsoft"),
        ("mta5.am0.yahoodns.net[192.0.2.1]:25", "a@aol.com", "yahoo"),
        ("none", "a@iCloud.com", "apple"),
        ("mx.walrus.example[10.77.0.2]:25", "a@walrus.example", "other"),
        ("none", "a@notgmail.com", "other"),
        ("mx.penguin.example[private/dovecot-lmtp]", "a@gmail.com", None),
        ("local", "a@gmail.com", None),
    ],
)
def test_the_relay_tells_the_provider_and_else_the_recipients_domain(
    relay: str, recipient: str, provider: str | None
) -> None:
    assert provider_of_attempt(relay, recipient) == provider


@given(st.text())
def test_whatever_a_host_is_called_its_provider_is_one_of_few(host: str) -> None:
    assert provider_of(host) in PROVIDERS


def test_the_end_of_a_label_is_not_a_label() -> None:
    assert provider_of("evil-google.com") == OTHER
    assert provider_of("google.com.evil.example") == OTHER
