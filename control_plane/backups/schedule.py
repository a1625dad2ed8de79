"""When backups are made and tested, and what came of one as a sentence."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from control_plane.backups.programs import BackupFailed
from control_plane.backups.results import COPY_EVERY, TEST_EVERY, Kind, Newest
from control_plane.backups.vault import Vault

#: What failed is tried again after so long.
_AGAIN = dt.timedelta(hours=1)
_EVERY = {Kind.COPY: COPY_EVERY, Kind.RESTORE_TEST: TEST_EVERY}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a copy or of a test."""

    ok: bool
    sentence: str


def due(newest: Mapping[Kind, Newest], now: dt.datetime) -> Kind | None:
    """Return what is to be done now, a copy before a test. Pure."""
    for kind, period in _EVERY.items():
        result = newest.get(kind)
        if result is None:
            return kind
        waited = now - result.ended_at
        if waited >= (period if result.ok else _AGAIN):
            return kind
    return None


def outcome_of(act: Callable[[], Outcome]) -> Outcome:
    """Do it, and make of a failure what is said of it. Raises `Conflict` when it was not begun: that is no outcome."""
    try:
        return act()
    except BackupFailed as error:
        return Outcome(ok=False, sentence=error.detail)


def saved(vault: Vault, owner_url: str) -> Outcome:
    """Save a whole copy. Raises `BackupFailed` and `Conflict`."""
    return Outcome(ok=True, sentence=f"copy {vault.back_up(owner_url)} is saved")


def tested(vault: Vault) -> Outcome:
    """Restore the newest copy and compare it. Raises `BackupFailed` and `Conflict`."""
    found = vault.test()
    sentence = f"copy {found.snapshot} of {found.at:%Y-%m-%d %H:%M:%S} UTC: {found.sentence}"
    return Outcome(ok=not found.wrong, sentence=sentence)
