"""Backs all mailboxes up, one after the other: one that cannot be saved keeps no other from it."""

import time
from dataclasses import replace
from pathlib import Path

from agent.backup.order import Order
from agent.backup.places import Places
from agent.backup.restic import Restic, ResticFailed
from agent.backup.status import Status

#: A mailbox that changes while it is read is saved once more: what was moved meanwhile may not have been seen.
_ATTEMPTS = 3
_TOLD = 3


def back_up(restic: Restic, order: Order, places: Places, before: Status) -> Status:
    """Save every mailbox that has mail, and return how it stands now. Raises nothing for what restic does not do."""
    try:
        restic.prepare()
        saved, failed = _save_all(restic, order, places)
        if saved:
            restic.forget()
    except ResticFailed as error:
        return replace(before, ended=time.time(), detail=str(error))
    if failed:
        told = "; ".join(failed[:_TOLD]) + (f"; and {len(failed) - _TOLD} more" if failed[_TOLD:] else "")
        return replace(before, ended=time.time(), detail=f"{len(failed)} mailboxes are not saved: {told}")
    now = time.time()
    return replace(before, ended=now, good=now, mailboxes=saved, detail=f"{saved} mailboxes are saved")


def _save_all(restic: Restic, order: Order, places: Places) -> tuple[int, list[str]]:
    saved, failed = 0, []
    for address in order.mailboxes:
        home = places.home(address)
        if not home.exists():
            continue
        try:
            _save(restic, address, home)
            saved += 1
        except ResticFailed as error:
            failed.append(str(error))
    return saved, failed


def _save(restic: Restic, address: str, home: Path) -> None:
    for _ in range(_ATTEMPTS):
        before = _changed(home)
        is_whole = restic.save(address, home)
        if is_whole and _changed(home) == before:
            return
    if not is_whole:
        raise ResticFailed("files of a mailbox could not be read")


def _changed(home: Path) -> int:
    """Return when a folder of the mailbox was last added to, moved in or taken from: now, if one goes meanwhile."""
    try:
        return max((folder.stat().st_mtime_ns for folder in home.glob("Maildir/**/") if folder.is_dir()), default=0)
    except FileNotFoundError:
        return time.time_ns()
