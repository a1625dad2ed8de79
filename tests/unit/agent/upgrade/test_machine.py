"""What is looked at of a release's folder and of a process; the rest is seen on a real server (tests/flow)."""

import os
from pathlib import Path

import pytest

from agent.journal.schema import SCHEMA_VERSION
from agent.units import bootstrap
from agent.upgrade import machine
from agent.upgrade.carry_out import Refused
from agent.upgrade.machine import Server


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three releases, the second current and the first good."""
    monkeypatch.setattr(bootstrap, "INSTALL_DIR", tmp_path)
    for name in ("1-a", "2-b", "3-c"):
        (tmp_path / "releases" / name / "bin").mkdir(parents=True)
        (tmp_path / "releases" / name / "bin" / "penguin-agent").touch()
    bootstrap.point("current", tmp_path / "releases" / "2-b")
    bootstrap.point("good", tmp_path / "releases" / "1-a")
    return tmp_path / "releases"


def test_links_name_releases_and_two_are_kept(installed: Path) -> None:
    server = Server()
    assert (server.current(), server.good()) == ("2-b", "1-a")
    server.settle("2-b", "1-a")
    assert {each.name for each in installed.iterdir()} == {"1-a", "2-b"}
    assert server.is_installed("1-a")
    assert not server.is_installed("3-c")
    assert not server.is_installed("")


@pytest.mark.parametrize(("told", "fits"), [(str(SCHEMA_VERSION), True), (str(SCHEMA_VERSION + 1), False), ("", False)])
def test_a_journal_that_could_not_be_read_after_the_way_back_is_refused(
    tmp_path: Path, told: str, *, fits: bool
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho {told}\n")
    python.chmod(0o755)
    if fits:
        machine._refuse_other_journal(tmp_path)
    else:
        with pytest.raises(Refused, match="no way back"):
            machine._refuse_other_journal(tmp_path)


def test_a_process_has_a_size_and_none_has_none() -> None:
    assert machine._rss(str(os.getpid())) > 1024 * 1024
    assert machine._rss("0") == 0
