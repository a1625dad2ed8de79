"""The command line: what it takes, how it fails, what it prints."""

import json
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.cli import fleet as fleet_command
from control_plane.cli import installation, lock, protos, tenants
from control_plane.cli.main import main
from control_plane.cli.progress import PlainProgress
from control_plane.cli.test import SUITES, split_words
from control_plane.errors import InvalidInput
from control_plane.fleet.servers import FleetServer, ServerHealth
from control_plane.processes.places import CHECKOUT
from protos.agent.v1.telemetry_pb2 import HealthReport

TENANT = uuid.UUID("7d9eecd5-ffa2-4dd0-ad92-f0fc2ce2267a")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Run the command line and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["penguin", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installation, "state_dir", lambda _: tmp_path)
    monkeypatch.delenv("PENGUIN_DATABASE_URL", raising=False)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    "arguments",
    [
        ("fleet",),
        ("tenant", "create", "Penguin Post"),
        ("workspace", "create", str(TENANT), "Sales"),
        ("api-key", "create", str(TENANT), "shop"),
    ],
)
def test_without_an_installation_a_command_ends_with_4_and_one_line(
    arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "./penguin up" in said.err


@pytest.mark.usefixtures("nothing_runs")
def test_a_database_that_is_not_set_up_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENGUIN_DATABASE_URL", "postgresql://boss@db.example/penguin")
    assert run(monkeypatch, "fleet") == 1
    assert "not set up" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("tenant", "create"), ("workspace", "create", "no-uuid", "x"), ("nonsense",)])
def test_wrong_usage_ends_with_2(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *arguments) == 2


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 256])
def test_a_name_that_cannot_be_shown_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "tenant", "create", name) == 1


@pytest.mark.parametrize(
    ("option", "address"), [("--address", "2001:db8::1"), ("--ipv6", "192.0.2.1"), ("--ipv6", "fe80::1%eth0")]
)
def test_a_server_of_ones_own_has_an_address_of_each_kind_in_its_place(
    option: str, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "node", "join-command", option, address) == 1
    assert f"address: {address!r}" in capsys.readouterr().err


def test_an_instance_cannot_be_named_out_of_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "fleet", "--instance", "../venv") == 1
    assert "instance" in capsys.readouterr().err


def test_what_is_made_is_printed_alone_or_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def create(_instance: str, _name: str) -> uuid.UUID:
        return TENANT

    monkeypatch.setattr(tenants, "_create_tenant", create)
    tenants.create_tenant("Penguin Post")
    assert capsys.readouterr().out == f"{TENANT}\n"
    tenants.create_tenant("Penguin Post", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"tenant_id": str(TENANT), "name": "Penguin Post"}


# ---------------------------------------------------------------- fleet


def server(**changes: object) -> FleetServer:
    now = datetime.now(UTC)
    report = HealthReport()
    report.postfix_queue.active = 2
    report.postfix_queue.deferred = 1
    fields: dict[str, object] = {
        "vps_id": uuid.uuid4(),
        "tenant_id": TENANT,
        "hostname": "mx1.penguin.example",
        "status": "ready",
        "mail_server_status": "running",
        "agent_version": "0.1.0",
        "desired_version": 3,
        "applied_version": 3,
        "reachable": True,
        "last_seen_at": now,
        "clock_offset_ms": -1200,
        "clock_measured_at": now,
        "reported_at": now,
        "received_at": now - timedelta(seconds=7),
        "report": report,
    }
    return FleetServer(ServerHealth(**{**fields, **changes}), waiting=4, queued=5)  # type: ignore[arg-type] # by name


def show(monkeypatch: pytest.MonkeyPatch, *servers: FleetServer, as_json: bool = False) -> None:
    async def load(_instance: str) -> Sequence[FleetServer]:
        return servers

    monkeypatch.setattr(fleet_command, "_load", load)
    fleet_command.fleet(as_json=as_json)


def test_the_fleet_is_a_line_for_each_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show(monkeypatch, server(), server(hostname="mx2.penguin.example", applied_version=2, reachable=False))
    heading, one, other = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["server", "tenant", "state"]
    assert one.split() == [
        *("mx1.penguin.example", str(TENANT), "ready", "running", "yes", "-1.2", "s", "0.1.0"),
        *("4", "5", "3", "7", "s", "ago"),
    ]
    assert "running (2 of 3)" in other
    assert " no " in other


def test_a_server_that_never_reported_has_no_age(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show(monkeypatch, server(agent_version=None, clock_offset_ms=None, received_at=None, report=None))
    assert capsys.readouterr().out.splitlines()[1].split()[-6:] == ["-", "-", "4", "5", "-", "-"]


def test_the_fleet_as_json_has_the_queue_and_the_age(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show(monkeypatch, server(), as_json=True)
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["queue"] == {"waiting": 4, "queued": 5, "postfix": 3}
    assert 7 <= shown["report_age_seconds"] < 60
    assert shown["report"]["postfix_queue"]["deferred"] == 1


def test_an_empty_fleet_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    show(monkeypatch)
    assert capsys.readouterr().out == "There are no servers yet.\n"


# ---------------------------------------------------------------- development


@pytest.mark.parametrize(
    ("words", "suite", "rest"),
    [
        ([], None, []),
        (["all"], None, []),
        (["all", "-x"], None, ["-x"]),
        (["-k", "relay"], None, ["-k", "relay"]),
        (["unit", "-k", "relay"], "unit", ["-k", "relay"]),
        (["faults", "--seeds", "20"], "faults", ["--seeds", "20"]),
    ],
)
def test_the_first_word_is_the_suite_and_the_others_are_its_arguments(
    words: list[str], suite: str | None, rest: list[str]
) -> None:
    assert split_words(words) == (suite, rest)


def test_an_unknown_suite_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=", ".join(SUITES)):
        split_words(["untis"])


def test_generated_code_is_fresh_until_it_is_touched(tmp_path: Path) -> None:
    protos.generate(tmp_path)
    assert protos.stale(tmp_path) == []
    (tmp_path / "protos/agent/v1/link_pb2.py").write_text("changed")
    (tmp_path / "protos/queue/v1/gone_pb2.pyi").touch()
    assert protos.stale(tmp_path) == ["protos/agent/v1/link_pb2.py", "protos/queue/v1/gone_pb2.pyi"]


@pytest.mark.parametrize(("folder", "names"), lock.NAMES.items(), ids=str)
def test_every_requirements_file_is_pinned(folder: str, names: tuple[str, ...]) -> None:
    assert sorted(path.stem for path in (CHECKOUT / folder).glob("*.in")) == sorted(names)
    for name in names:
        pinned = (CHECKOUT / folder / f"{name}.lock").read_text()
        assert "--hash=sha256:" in pinned
        assert "://" not in pinned


# ---------------------------------------------------------------- progress


def test_without_a_terminal_steps_are_lines_and_fast_details_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    for percent in range(100):
        progress.detail(f"{percent}%")
    progress.step("done")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].endswith("done")
