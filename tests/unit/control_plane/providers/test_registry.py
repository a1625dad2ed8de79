from pathlib import Path

import pytest
from pydantic import SecretStr

from control_plane.providers.base import ACME_PORT_PROVIDERS, Capability
from control_plane.providers.byo.provider import ByoProvider
from control_plane.providers.hetzner.provider import HetznerProvider
from control_plane.providers.hostwinds.provider import HostwindsProvider
from control_plane.providers.local.provider import LocalProvider
from control_plane.providers.registry import build_providers
from control_plane.settings import Settings


def settings(socket: Path | None, token: str = "", *, offered: bool = False) -> Settings:
    return Settings(
        state_dir=Path("/state"),
        api_database_url=SecretStr(""),
        system_database_url=SecretStr(""),
        redis_url=SecretStr(""),
        local_cloud_socket=socket,
        hetzner_token=SecretStr(token),
        hetzner_offered=offered,
    )


def test_the_local_provider_is_there_when_its_daemon_has_a_socket() -> None:
    providers = build_providers(settings(Path("/state/cloud.sock")))
    assert list(providers) == ["local", "byo"]
    assert "starter" in providers["local"].sizes
    assert providers["local"].regions == ("local",)


def test_there_is_no_local_provider_without_a_daemon() -> None:
    assert list(build_providers(settings(None))) == ["byo"]


@pytest.mark.parametrize("offer", [settings(None, token="secret-token"), settings(None, offered=True)])
def test_hetzner_is_there_when_there_is_a_token_or_another_process_has_it(offer: Settings) -> None:
    hetzner = build_providers(offer)["hetzner"]
    assert hetzner.key == "hetzner"
    assert hetzner.sizes == ("starter", "professional", "business", "enterprise")
    assert hetzner.capabilities == frozenset(Capability)
    assert "secret-token" not in f"{hetzner!r} {offer!r}"


@pytest.mark.parametrize("url", ["http://api.hetzner.cloud/v1", "http://127.0.0.1.example:80/v1", "ftp://127.0.0.1:1/"])
def test_a_token_is_never_sent_without_tls_beyond_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="hetzner_api_url must begin with https://"):
        Settings(state_dir=Path("/state"), hetzner_api_url=url)


def test_the_hub_knows_whose_firewalls_keep_port_80_shut() -> None:
    known = (LocalProvider, HetznerProvider, HostwindsProvider, ByoProvider)
    assert {each.key for each in known if Capability.ACME_PORT in each.capabilities} == ACME_PORT_PROVIDERS
