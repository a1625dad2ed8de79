"""Where settings come from, and which are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from control_plane.settings import Settings


@pytest.fixture(autouse=True)
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemd would give a service."""
    monkeypatch.setenv("PENGUIN_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_secret_is_read_from_a_credential_of_systemds(credentials: Path) -> None:
    (credentials / "penguin_redis_url").write_text("redis://here\n")
    settings = Settings.model_validate({})
    assert settings.redis_url.get_secret_value() == "redis://here"
    assert "here" not in repr(settings)


def test_the_environment_comes_before_credentials(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (credentials / "penguin_redis_url").write_text("redis://here")
    monkeypatch.setenv("PENGUIN_REDIS_URL", "redis://there")
    assert Settings.model_validate({}).redis_url.get_secret_value() == "redis://there"


def test_doors_listen_where_agents_find_them_unless_told_otherwise() -> None:
    settings = Settings.model_validate({"link_endpoint": "mail.example:7444", "link_listen": "127.0.0.1:17444"})
    assert settings.enrol_listen == settings.enrol_endpoint
    assert (settings.link_listen, settings.link_endpoint) == ("127.0.0.1:17444", "mail.example:7444")


def test_nobody_is_believed_about_clients_whose_address_is_not_one() -> None:
    assert Settings.model_validate({"trusted_proxies": ["192.0.2.0/24", "::1"]}).trusted_proxies
    for proxy in ("*", "gateway.example", "192.0.2.1/24"):
        with pytest.raises(ValidationError, match="trusted_proxies"):
            Settings.model_validate({"trusted_proxies": [proxy]})


def test_metrics_are_told_at_no_public_address() -> None:
    for listen in ("", "127.0.0.1:9101", "[::1]:9101", "10.0.0.11:9101", "/run/penguinmails/metrics"):
        assert Settings.model_validate({"metrics_listen": listen}).metrics_listen == listen
    for listen in ("0.0.0.0:9101", "[::]:9101", "203.0.114.9:9101", "localhost:9101", "127.0.0.1", "127.0.0.1:0"):
        with pytest.raises(ValidationError):
            Settings.model_validate({"metrics_listen": listen})
