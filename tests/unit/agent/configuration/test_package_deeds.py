import json
from pathlib import Path

import pytest

from agent.configuration.deeds import perform
from agent.configuration.package_deeds import FOLDER, UNIT
from agent.packages.machine import wanted_versions
from agent.upgrade.order import Files
from mailstack.apply.host import StoredFile
from protos.agent.v1 import commands_pb2 as wire
from tests.fakes.host import FakeHost

ORDER, CONFIRMED, STATUS = (str(FOLDER / name) for name in ("order.json", "confirmed", "status.json"))
CHANGE = "packages-01934d3a"
DONE, REFUSED = wire.CommandResult.OUTCOME_DONE, wire.CommandResult.OUTCOME_REFUSED


def ordered(name: str = "postfix", version: str = "3.7.12-0+deb12u1", patience: float = 180) -> wire.Command:
    packages = [wire.PackageVersions(name=name, versions=[version])]
    deed = wire.ChangePackages(release=CHANGE, packages=packages, patience_seconds=patience, soak_seconds=20)
    return wire.Command(change_packages=deed)


def test_what_is_ordered_is_what_the_unit_reads(tmp_path: Path) -> None:
    host = FakeHost()
    assert perform(ordered(), host).outcome == DONE
    assert host.commands == [f"enable --quiet {UNIT}", f"start --no-block {UNIT}"]
    (tmp_path / "order.json").write_bytes(host.files[ORDER].content)
    order = Files(tmp_path, wanted_versions).order()
    assert order is not None
    assert (order.release, order.wanted) == (CHANGE, {"postfix": ("3.7.12-0+deb12u1",)})
    assert (order.patience.link, order.patience.soak) == (180, 20)


def test_the_way_back_is_ordered_once(tmp_path: Path) -> None:
    host = FakeHost()
    back = wire.Command(roll_back_packages=wire.RollBackPackages(release=CHANGE))
    assert perform(back, host).outcome == perform(back, host).outcome == DONE
    assert perform(ordered(), host).outcome == REFUSED
    (tmp_path / "order.json").write_bytes(host.files[ORDER].content)
    order = Files(tmp_path, wanted_versions).order()
    assert order is not None
    assert (order.release, order.wanted) == (CHANGE, None)


@pytest.mark.parametrize(
    "command",
    [
        ordered(name="bash"),
        ordered(name="--allow-unauthenticated"),
        ordered(version="3.7; reboot"),
        ordered(patience=0),
        ordered(patience=float("nan")),
        wire.Command(change_packages=wire.ChangePackages(release=CHANGE, patience_seconds=9)),
        wire.Command(roll_back_packages=wire.RollBackPackages(release="../x")),
    ],
)
def test_what_makes_no_sense_is_refused(command: wire.Command) -> None:
    host = FakeHost()
    assert perform(command, host).outcome == REFUSED
    assert (host.files, host.commands) == ({}, [])


def test_only_the_change_that_was_made_last_is_confirmed() -> None:
    host = FakeHost()
    confirmation = wire.Command(confirm_packages=wire.ConfirmPackages(release=CHANGE))
    assert perform(confirmation, host).outcome == REFUSED
    host.files[STATUS] = StoredFile(json.dumps({"release": "packages-other"}).encode(), "root", "root", 0o644)
    assert perform(confirmation, host).outcome == REFUSED
    host.files[STATUS] = StoredFile(b'{"release"', "root", "root", 0o644)
    assert perform(confirmation, host).outcome == REFUSED
    assert CONFIRMED not in host.files
    host.files[STATUS] = StoredFile(json.dumps({"release": CHANGE}).encode(), "root", "root", 0o644)
    assert perform(confirmation, host).outcome == DONE
    assert host.files[CONFIRMED].content == CHANGE.encode()
