"""The script at the top of the checkout: what a command needs, and how it is got."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from control_plane.cli.main import app

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with an empty .penguin of its own."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("penguin_script", str(CHECKOUT / "penguin"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)
    loader.exec_module(module)
    home = tmp_path / ".penguin"
    home.mkdir()
    monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setattr(module, "ENVIRONMENT", home / "venv")
    monkeypatch.setattr(module, "STAMP", home / "venv" / "lock.sha256")
    return module


def names(packages: Sequence[Any]) -> list[str]:
    return [package.name for package in packages]


def test_help_needs_nothing_and_names_every_command(script: ModuleType) -> None:
    text = subprocess.run(
        [sys.executable, "-I", "-S", CHECKOUT / "penguin"], capture_output=True, text=True, check=True
    )
    for command in get_command(app).commands:  # type: ignore[attr-defined] # it is a group
        assert f"\n  {command} " in text.stdout


def test_each_command_of_the_tables_exists(script: ModuleType) -> None:
    known = set(get_command(app).commands)  # type: ignore[attr-defined] # it is a group
    named = {name.split()[0] for name in (*script.NEEDS, *script.NEED_ROOT, *script.NEED_INSTALLATION)}
    assert named | set(script.DEVELOPMENT) <= known


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["test"], "test all"),
        (["test", "-k", "relay"], "test all"),
        (["test", "unit", "-k", "relay"], "test unit"),
        (["bench", "relay", "--rounds", "1"], "bench relay"),
        (["bench", "--help"], "bench"),
        (["fleet", "--json"], "fleet"),
    ],
)
def test_test_and_bench_are_named_with_what_they_run(script: ModuleType, arguments: list[str], name: str) -> None:
    assert script.command_name(arguments) == name


def test_unit_tests_need_no_daemon_and_an_installation_needs_them(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PENGUIN_DATABASE_URL", raising=False)
    monkeypatch.delenv("PENGUIN_REDIS_URL", raising=False)
    assert script.needs("test unit") == ()
    assert {"postgresql", "redis-server", "systemd-container"} <= set(names(script.needs("up")))


def test_what_the_user_brought_is_not_installed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENGUIN_DATABASE_URL", "postgresql://elsewhere/penguin")
    monkeypatch.setenv("PENGUIN_REDIS_URL", "redis://elsewhere")
    assert not {"postgresql", "redis-server"} & set(names(script.needs("up")))
    assert "postgresql" in names(script.needs("test integration"))


def test_packages_that_are_there_are_left_alone(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/redis-server").touch()
    script.require_packages(script.REDIS, root=tmp_path)


def test_missing_packages_are_named_and_end_with_3_when_nobody_can_install_them(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(script.shutil, "which", lambda program: "/usr/bin/apt-get" if program == "apt-get" else None)
    with pytest.raises(SystemExit) as end:
        script.require_packages([*script.POSTGRESQL, *script.REDIS], root=tmp_path)
    assert end.value.code == 3
    assert "apt-get install --no-install-recommends postgresql redis-server" in capsys.readouterr().err


def test_a_command_that_needs_root_ends_with_3_where_there_is_no_sudo(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit) as end:
        script.become_root_for("demo", ["demo", "--once"])
    assert end.value.code == 3
    assert "sudo ./penguin demo --once" in capsys.readouterr().err


def test_a_command_that_needs_no_root_goes_on_as_the_user(script: ModuleType) -> None:
    script.become_root_for("test unit", ["test", "unit"])
    script.become_root_for("fleet", ["fleet"])


def test_no_daemon_starts_while_packages_are_installed_and_all_is_put_back(script: ModuleType, tmp_path: Path) -> None:
    policy = tmp_path / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    policy.write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "etc").mkdir()
    with script.no_daemons(tmp_path):
        assert subprocess.run([policy], check=False).returncode == 101
        (drop_in,) = (tmp_path / "etc/postgresql-common/createcluster.d").iterdir()
        assert drop_in.read_text() == "create_main_cluster = false\n"
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert not (tmp_path / "etc/postgresql-common").exists()
    assert [entry.name for entry in policy.parent.iterdir()] == ["policy-rc.d"]


def test_a_refusal_left_by_a_killed_run_does_not_stay(script: ModuleType, tmp_path: Path) -> None:
    policy = tmp_path / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    with script.no_daemons(tmp_path):
        left = policy.read_text()
    policy.write_text(left)
    with script.no_daemons(tmp_path):
        pass
    assert not policy.exists()


@pytest.mark.parametrize("installed", ["control-plane.lock", "dev.lock"])
def test_an_environment_that_fits_its_lock_is_not_made_again(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    script.STAMP.parent.mkdir()
    script.STAMP.write_text(script.fingerprint(installed))
    monkeypatch.setattr(script, "make_environment", lambda _: pytest.fail("made again"))
    script.require_environment("control-plane.lock")


def test_developers_tools_are_added_to_an_environment_without_them(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.STAMP.parent.mkdir()
    script.STAMP.write_text(script.fingerprint("control-plane.lock"))
    made: list[str] = []
    monkeypatch.setattr(script, "make_environment", made.append)
    script.require_environment("dev.lock")
    assert made == ["dev.lock"]


def test_a_long_command_leaves_its_words_in_the_log(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    assert script.run_long([sys.executable, "-c", "print('Collecting a')"], "try", log, step="Collecting ")
    assert not script.run_long([sys.executable, "-c", "import sys; sys.exit('no')"], "try", log)
    assert log.read_text() == "Collecting a\nno\n"
    assert "failed" in capsys.readouterr().err


def test_what_builds_packages_is_pinned_by_the_same_lock(script: ModuleType) -> None:
    lock = (CHECKOUT / "requirements/control-plane.lock").read_text()
    builders = script.pinned(script.BUILDERS, lock)
    assert [line.partition("==")[0] for line in builders.splitlines() if "==" in line] == ["pip", "setuptools"]
    assert builders.count("--hash=sha256:") >= 2
    assert "sdnotify" not in builders


def test_a_part_of_a_lock_ends_where_the_next_package_begins(script: ModuleType) -> None:
    lock = "# made\na==1 \\\n    --hash=sha256:a\n    # via b\nab==2 \\\n    --hash=sha256:ab\n"
    assert script.pinned(("a",), lock) == "a==1 \\\n    --hash=sha256:a\n    # via b\n"
