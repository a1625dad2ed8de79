"""A mailbox that changes under the backup, or holds what no mailbox should, disturbs nothing else."""

import os
import shutil
from pathlib import Path

import pytest

from agent.backup import bring_back
from agent.backup.back_up import back_up
from agent.backup.order import Order
from agent.backup.places import Places
from agent.backup.restic import Restic
from agent.backup.status import Status

ORDER = Order("/srv/backups", "herring-and-sardine", {}, "pm-1", ("anna@acme.example", "ben@acme.example"))


class Kept(Restic):
    """Keeps who was saved."""

    def __init__(self, places: Places) -> None:
        super().__init__(ORDER, places.cache)
        self.saved: list[str] = []

    def prepare(self) -> None:
        """Be there."""

    def save(self, address: str, home: Path) -> bool:
        self.saved.append(address)
        return home.exists()

    def forget(self) -> None:
        """Keep all."""


def test_a_folder_that_is_deleted_while_it_is_looked_at_keeps_no_mailbox_from_being_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(tmp_path / "state", tmp_path / "mail")
    for address in ORDER.mailboxes:
        (places.home(address) / "Maildir" / ".Old" / "cur").mkdir(parents=True)
    is_dir = Path.is_dir

    def is_dir_and_then_gone(path: Path) -> bool:
        found = is_dir(path)
        if path.name == ".Old":
            shutil.rmtree(path, ignore_errors=True)
        return found

    monkeypatch.setattr(Path, "is_dir", is_dir_and_then_gone)
    restic = Kept(places)
    done = back_up(restic, ORDER, places, Status())
    assert done.mailboxes == 2, done.detail
    assert set(restic.saved) == set(ORDER.mailboxes)


def test_a_link_in_a_mailbox_gives_nothing_away_that_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []
    monkeypatch.setattr(os, "chown", lambda path, *_: given.append(path))
    scratch, outside = tmp_path / "scratch", tmp_path / "etc"
    (scratch / "Maildir").mkdir(parents=True)
    outside.mkdir()
    (scratch / "Maildir" / "cur").symlink_to(outside)
    bring_back._give(scratch)
    assert given == [scratch, scratch / "Maildir"]
