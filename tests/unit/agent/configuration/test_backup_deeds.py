import sys
import uuid
from pathlib import Path

import pytest

from agent.backup.order import Asked, take_asked
from agent.configuration.deeds import perform
from mailstack import layout
from mailstack.apply.host import StoredFile
from protos.agent.v1 import commands_pb2 as wire
from tests.fakes.host import FakeHost

DONE, FAILED, REFUSED = (
    wire.CommandResult.OUTCOME_DONE,
    wire.CommandResult.OUTCOME_FAILED,
    wire.CommandResult.OUTCOME_REFUSED,
)
ID = uuid.UUID(int=7)
SERVER = str(uuid.UUID(int=8))


@pytest.fixture
def host() -> FakeHost:
    host = FakeHost()
    host.files[layout.BACKUP_ORDER] = StoredFile(b"{}", "root", "root", 0o600)
    return host


def asked(host: FakeHost, folder: Path) -> Asked | None:
    """Return what the unit reads."""
    for path, file in host.files.items():
        if path.startswith("/var/lib/penguin-backup/asked/"):
            assert file.mode == 0o600
            (folder / Path(path).name).write_bytes(file.content)
    return take_asked(folder)


def test_what_is_asked_for_is_what_the_unit_reads_once(host: FakeHost, tmp_path: Path) -> None:
    wish = wire.RestoreMail(address="anna@acme.example", snapshot="c0ffee12", server=SERVER, in_place=True)
    assert perform(wire.Command(id=ID.bytes, restore_mail=wish), host).outcome == DONE
    assert asked(host, tmp_path) == Asked(str(ID), "anna@acme.example", "c0ffee12", SERVER, in_place=True)
    assert take_asked(tmp_path) is None
    assert host.commands == ["start --no-block penguin-backup.service"]


def test_a_backup_of_all_names_no_mailbox(host: FakeHost, tmp_path: Path) -> None:
    assert perform(wire.Command(id=ID.bytes, back_up_mail=wire.BackUpMail()), host).outcome == DONE
    assert asked(host, tmp_path) == Asked(str(ID))


@pytest.mark.parametrize(
    "wish",
    [
        wire.RestoreMail(address="../../etc@acme.example"),
        wire.RestoreMail(address="anna@acme.example", snapshot="--target=/"),
        wire.RestoreMail(address="anna@acme.example", server="../other"),
    ],
)
def test_what_is_no_address_snapshot_or_server_is_refused(host: FakeHost, wish: wire.RestoreMail) -> None:
    assert perform(wire.Command(id=ID.bytes, restore_mail=wish), host).outcome == REFUSED
    assert set(host.files) == {layout.BACKUP_ORDER}


def test_where_mailboxes_are_not_backed_up_nothing_is_asked_for() -> None:
    assert perform(wire.Command(id=ID.bytes, back_up_mail=wire.BackUpMail()), FakeHost()).outcome == REFUSED


def test_what_there_is_is_asked_of_the_program_that_knows_the_password(host: FakeHost) -> None:
    wish = wire.Command(id=ID.bytes, list_mail_backups=wire.ListMailBackups(address="anna@acme.example"))
    assert perform(wish, host).outcome == DONE
    host.complaints[f"{sys.prefix}/bin/penguin-backup"] = "restic snapshots failed (1): wrong password"
    refused = perform(wish, host)
    assert (refused.outcome, refused.detail) == (
        FAILED,
        "penguin-backup list: restic snapshots failed (1): wrong password",
    )
