"""What the bootstrap decides before it touches the server."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.units import bootstrap
from agent.units.bootstrap import BootstrapFailed, Downloads, Manifest, Wheel, parse_manifest

GOOD: dict[str, Any] = {
    "version": "0.1.0",
    "wheels": [{"name": "pip-26.3-py3-none-any.whl", "sha256": "ab"}, {"name": "a-1-py3-none-any.whl", "sha256": "cd"}],
    "pip": "pip-26.3-py3-none-any.whl",
}


def encoded(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_manifest_is_read() -> None:
    wheels = (Wheel("pip-26.3-py3-none-any.whl", "ab"), Wheel("a-1-py3-none-any.whl", "cd"))
    assert parse_manifest(encoded()) == Manifest("0.1.0", wheels, "pip-26.3-py3-none-any.whl")


@pytest.mark.parametrize("name", ["../a.whl", "/etc/passwd", "", ".hidden", "a/b.whl", None, 7])
def test_a_name_that_is_a_path_is_refused(name: object) -> None:
    with pytest.raises(BootstrapFailed):
        parse_manifest(encoded(wheels=[{"name": name, "sha256": "ab"}]))
    with pytest.raises(BootstrapFailed):
        parse_manifest(encoded(version=name))


def test_a_pip_that_is_not_among_the_wheels_is_refused() -> None:
    with pytest.raises(BootstrapFailed, match="pip"):
        parse_manifest(encoded(pip="other.whl"))


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()))
def test_noise_is_refused(content: bytes) -> None:
    with pytest.raises(BootstrapFailed):
        parse_manifest(content)


def test_downloads_without_tls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BootstrapFailed, match="https"):
        Downloads("http://10.77.0.1:7480", tmp_path / "ca.pem")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bootstrap, "INSTALL_DIR", tmp_path)
    release = tmp_path / "releases" / "0.1.0-abc"
    release.mkdir(parents=True)
    return release


def test_switching_twice_changes_once(installed: Path) -> None:
    assert bootstrap.switch_to(installed)
    assert not bootstrap.switch_to(installed)
    assert (installed.parent.parent / "current").resolve() == installed


def test_a_switch_that_was_cut_short_is_finished_by_the_next(installed: Path) -> None:
    (installed.parent.parent / ".current.new").symlink_to("nowhere")
    assert bootstrap.switch_to(installed)


def test_the_current_release_and_one_before_are_kept(installed: Path) -> None:
    for name in ("old-1", "old-2", "old-3"):
        (installed.parent / name).mkdir()
    bootstrap.remove_old_releases(installed)
    kept = {path.name for path in installed.parent.iterdir()}
    assert len(kept) == bootstrap.RELEASES_KEPT
    assert installed.name in kept
