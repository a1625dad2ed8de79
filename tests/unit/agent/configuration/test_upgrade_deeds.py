import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.configuration.deeds import perform
from agent.configuration.upgrade_deeds import FOLDER, UNIT
from agent.upgrade.order import Files, SignedManifest, signed_manifest
from protos.agent.v1 import commands_pb2 as wire
from tests.fakes.host import FakeHost

ORDER = str(FOLDER / "order.json")
DONE, REFUSED = wire.CommandResult.OUTCOME_DONE, wire.CommandResult.OUTCOME_REFUSED


def ordered(**changes: str | bytes | float) -> wire.Command:
    deed = wire.UpgradeAgent(
        release="0.2.0-abc",
        manifest_sha256="ab" * 32,
        signature=b"s" * 64,
        certificate=b"der",
        patience_seconds=180,
        soak_seconds=20,
    )
    for name, value in changes.items():
        setattr(deed, name, value)
    return wire.Command(upgrade_agent=deed)


def test_what_is_ordered_is_what_the_unit_reads(tmp_path: Path) -> None:
    host = FakeHost()
    assert perform(ordered(), host).outcome == DONE
    assert host.commands == [f"enable --quiet {UNIT}", f"start --no-block {UNIT}"]
    assert host.files[ORDER].mode == 0o600
    (tmp_path / "order.json").write_bytes(host.files[ORDER].content)
    order = Files(tmp_path, signed_manifest).order()
    assert order is not None
    assert (order.release, order.wanted) == ("0.2.0-abc", SignedManifest("ab" * 32, b"s" * 64, b"der"))
    assert (order.patience.link, order.patience.soak) == (180, 20)


def test_the_way_back_is_ordered_likewise(tmp_path: Path) -> None:
    host = FakeHost()
    command = wire.Command(roll_back_agent=wire.RollBackAgent(release="0.2.0-abc"))
    assert perform(command, host).outcome == DONE
    (tmp_path / "order.json").write_bytes(host.files[ORDER].content)
    order = Files(tmp_path, signed_manifest).order()
    assert order is not None
    assert (order.release, order.wanted) == ("0.2.0-abc", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"release": "../../etc"},
        {"release": ""},
        {"release": "a/b"},
        {"release": "-rf"},
        {"manifest_sha256": "ab"},
        {"signature": b"short"},
        {"certificate": b""},
        {"certificate": b"x" * 5000},
        {"patience_seconds": 0},
        {"patience_seconds": 1e9},
        {"patience_seconds": float("nan")},
        {"soak_seconds": -1},
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, str | bytes | float]) -> None:
    host = FakeHost()
    assert perform(ordered(**changes), host).outcome == REFUSED
    assert (host.files, host.commands) == ({}, [])


def test_the_same_order_twice_is_one_and_another_waits_its_turn() -> None:
    host = FakeHost()
    perform(ordered(), host)
    before = host.files[ORDER]
    assert perform(ordered(), host).outcome == DONE
    assert host.files[ORDER] == before
    other = perform(ordered(release="0.3.0-def"), host)
    assert (other.outcome, host.files[ORDER]) == (REFUSED, before)
    assert "0.2.0-abc is under way" in other.detail
    assert json.loads(before.content)["release"] == "0.2.0-abc"


@pytest.mark.parametrize("content", [b"", b'{"release": "0.2.0-a', b"[]", b'{"release": 7, "back": false}', b"\xff"])
def test_where_an_order_cannot_be_read_nothing_is_ordered_before_its_unit_has_called_it_off(content: bytes) -> None:
    host = FakeHost()
    perform(ordered(), host)
    host.files[ORDER] = replace(host.files[ORDER], content=content)
    host.commands.clear()

    told = perform(ordered(release="0.3.0-def"), host)

    assert (told.outcome, host.files[ORDER].content) == (REFUSED, content)
    assert "ask again" in told.detail
    assert host.commands == [f"enable --quiet {UNIT}", f"start --no-block {UNIT}"]
    host.remove(ORDER)
    assert perform(ordered(release="0.3.0-def"), host).outcome == DONE


def test_only_the_release_that_runs_is_confirmed() -> None:
    host = FakeHost()
    runs = Path(sys.prefix).name
    other = wire.Command(confirm_release=wire.ConfirmRelease(release="0.2.0-abc"))
    assert perform(other, host).outcome == REFUSED
    assert host.files == {}
    own = wire.Command(confirm_release=wire.ConfirmRelease(release=runs))
    assert perform(own, host).outcome == DONE
    assert host.files[str(FOLDER / "confirmed")].content == runs.encode()


def test_a_deed_of_a_later_version_is_refused_in_words() -> None:
    # Field 99 is none of ours.
    later = wire.Command.FromString(b"\x0a\x02id\x9a\x06\x00")
    result = perform(later, FakeHost())
    assert (result.outcome, result.id) == (REFUSED, b"id")
