"""Brings a mailbox back: beside what is there now, or in place and then only what is not there.

Dovecot puts it in (doveadm-import(1)), as it would a mail program's messages: with flags and dates, and counted in the
quota.
"""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from agent.backup.merge import count, drop_known
from agent.backup.order import Asked
from agent.backup.places import Places
from agent.backup.restic import Restic, ResticFailed, Snapshot
from agent.backup.status import Status
from mailstack import layout

_MAILDIR = "Maildir"
#: Folders beneath one are named so in Maildir++.
_BESIDE = "Restored.{day:%Y-%m-%d}"


class CannotBringBack(Exception):
    """The message says why."""


def bring_back(restic: Restic, asked: Asked, places: Places, before: Status) -> Status:
    """Do it, and return how it stands now."""
    try:
        detail = _bring_back(restic, asked, places)
    except (CannotBringBack, ResticFailed, OSError) as error:
        return _ended(before, asked, ok=False, detail=str(error))
    finally:
        shutil.rmtree(places.scratch, ignore_errors=True)
    return _ended(before, asked, ok=True, detail=detail)


def _bring_back(restic: Restic, asked: Asked, places: Places) -> str:
    snapshot = _chosen(restic.snapshots(asked.address), asked.snapshot)
    shutil.rmtree(places.scratch, ignore_errors=True)
    places.scratch.mkdir(mode=0o700)
    earlier = restic.fetch(snapshot, places.scratch) / _MAILDIR
    _give(places.scratch)
    if not asked.in_place:
        folder = _BESIDE.format(day=snapshot.at)
        _put_in(earlier, asked.address, folder)
        return f"{count(earlier)} messages of {snapshot.at:%Y-%m-%d %H:%M} UTC are in the folder {folder}"
    back, there = drop_known(earlier, places.home(asked.address) / _MAILDIR)
    if back:
        _put_in(earlier, asked.address, "")
    return f"{back} messages of {snapshot.at:%Y-%m-%d %H:%M} UTC are back; {there} were there"


def _chosen(snapshots: list[Snapshot], snapshot_id: str) -> Snapshot:
    fitting = [each for each in snapshots if each.id.startswith(snapshot_id)]
    if not fitting:
        raise CannotBringBack("there is no such backup of that mailbox")
    return fitting[-1]


def _give(scratch: Path) -> None:
    """Let Dovecot's user pass to the mailbox: folders above it are made by restic for root alone.

    Links are left alone: a mailbox is its account's to write, and one may lead anywhere.
    """
    folders = (path for path in scratch.rglob("*") if path.is_dir() and not path.is_symlink())
    for folder in (scratch, *folders):
        os.chown(folder, layout.MAIL_USER_ID, layout.MAIL_USER_ID)


def _put_in(maildir: Path, address: str, folder: str) -> None:
    done = subprocess.run(
        ["doveadm", "import", "-u", address, f"maildir:{maildir}", folder, "ALL"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise CannotBringBack(f"Dovecot did not take it: {' | '.join(done.stderr.strip().splitlines()[-3:])}")


def _ended(before: Status, asked: Asked, *, ok: bool, detail: str) -> Status:
    return replace(before, restore_id=asked.id, restore_ok=ok, restore_ended=time.time(), restore_detail=detail)
