from pathlib import Path

from pydantic import SecretStr

from control_plane.providers.registry import build_providers
from control_plane.settings import Settings


def settings(socket: Path | None) -> Settings:
    return Settings(
        state_dir=Path("/state"),
        api_database_url=SecretStr(""),
        system_database_url=SecretStr(""),
        redis_url=SecretStr(""),
        local_cloud_socket=socket,
    )


def test_the_local_provider_is_there_when_its_daemon_has_a_socket() -> None:
    providers = build_providers(settings(Path("/state/cloud.sock")))
    assert list(providers) == ["local"]
    assert "starter" in providers["local"].sizes
    assert providers["local"].regions == ("local",)


def test_there_is_no_local_provider_without_a_daemon() -> None:
    assert build_providers(settings(None)) == {}
