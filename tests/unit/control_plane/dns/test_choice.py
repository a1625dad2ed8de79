"""Which publisher the settings make."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from control_plane.dns.publishers.choice import make_publisher
from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.dns.publishers.rfc2136 import Rfc2136Publisher
from control_plane.settings import Settings

UPDATES = {"dns_update_primary": "192.0.2.53:53", "dns_update_key_name": "penguin", "dns_update_secret": "c2VjcmV0"}


def settings(tmp_path: Path, **values: str) -> Settings:
    return Settings.model_validate({"state_dir": tmp_path, **values})


def test_powerdns_unless_a_primary_is_named(tmp_path: Path) -> None:
    assert isinstance(make_publisher(settings(tmp_path)), PowerDnsPublisher)


def test_a_primary_that_takes_signed_updates(tmp_path: Path) -> None:
    assert isinstance(make_publisher(settings(tmp_path, **UPDATES)), Rfc2136Publisher)


@pytest.mark.parametrize("primary", ["ns1.acme.example:53", "192.0.2.53", "192.0.2.53:dns", "192.0.2.53:0"])
def test_a_primary_is_an_address_and_a_port(tmp_path: Path, primary: str) -> None:
    with pytest.raises(ValidationError, match="dns_update_primary"):
        settings(tmp_path, **UPDATES | {"dns_update_primary": primary})


def test_a_primary_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="dns_update_key_name"):
        settings(tmp_path, dns_update_primary="192.0.2.53:53")


def test_a_secret_that_is_none_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PENGUIN_DNS_UPDATE_SECRET is not base64") as caught:
        make_publisher(settings(tmp_path, **UPDATES | {"dns_update_secret": "not base64!"}))
    assert "not base64!" not in str(caught.value)
