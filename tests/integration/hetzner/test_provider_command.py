import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from control_plane.cli.main import app
from control_plane.errors import InvalidInput
from control_plane.providers.base import NeedsPerson
from tests.fakes.hetzner.door import FakeHetzner, running_hetzner


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENGUIN_HETZNER_TOKEN", raising=False)


@pytest.fixture
def fake(_no_token: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHetzner]:
    with running_hetzner() as running:
        monkeypatch.setenv("PENGUIN_HETZNER_TOKEN", running.token)
        monkeypatch.setenv("PENGUIN_HETZNER_API_URL", running.url)
        yield running


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["provider", *words, "--instance", "test-of-providers"], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_what_is_configured_is_listed_with_what_it_offers(fake: FakeHetzner) -> None:
    (row, _own) = json.loads(run("list", "--json"))
    assert row["provider"] == "hetzner"
    assert row["sizes"] == ["starter", "professional", "business", "enterprise"]
    assert row["regions"][:3] == ["eu", "us", "asia"]
    assert {"rebuild", "prices", "reverse_dns_v6"} <= set(row["capabilities"])
    assert "hetzner" in run("list")
    assert fake.seen == []


def test_without_a_provider_the_list_says_how_to_get_one() -> None:
    assert "PENGUIN_HETZNER_TOKEN" in run("list")


def test_prices_are_those_that_the_provider_gives(fake: FakeHetzner) -> None:
    rows = json.loads(run("prices", "hetzner", "--json"))
    assert {
        "what": "cx23",
        "location": "fsn1",
        "currency": "EUR",
        "hourly_net": "0.0082",
        "hourly_gross": "0.0097",
        "monthly_net": "5.49",
        "monthly_gross": "6.53",
    } in rows
    assert "primary ipv4" in run("prices", "hetzner")


def test_prices_of_an_unknown_provider_name_those_there_are(fake: FakeHetzner) -> None:
    with pytest.raises(InvalidInput, match="no provider 'nowhere' here states prices; there is: hetzner"):
        run("prices", "nowhere")


def test_prices_without_a_token_say_what_is_missing() -> None:
    with pytest.raises(InvalidInput, match="PENGUIN_HETZNER_TOKEN"):
        run("prices", "hetzner")


def test_a_wrong_token_is_told_and_not_shown(fake: FakeHetzner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENGUIN_HETZNER_TOKEN", "a-wrong-and-secret-token")
    with pytest.raises(NeedsPerson) as caught:
        run("prices", "hetzner")
    assert "a-wrong-and-secret-token" not in str(caught.value)
