"""What the root half orders, and how far it came: files in one folder, each replaced by one rename.

`order.json` is there while there is something to do. `status.json` tells of the last change, and is what a run that was
cut short goes on from. `confirmed` names the release that the control plane has heard of.
"""

import base64
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from agent.configuration.change_orders import UnreadableOrder, parse_order
from agent.upgrade.judge import Patience
from agent.upgrade.states import State

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """What a release of the agent must be: the SHA-256 (hex) of its manifest, and who signed that."""

    sha256: str
    signature: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Order(Generic[W]):
    """Install and switch to `release`, which is what is `wanted`; without that, switch from it to the one before."""

    release: str
    wanted: W | None = None
    patience: Patience = field(default=Patience(0, 0))


@dataclass(frozen=True, slots=True)
class Progress:
    """How the change to `release` from `previous` stands; `at` in seconds since the Unix epoch."""

    release: str
    previous: str
    state: State
    reason: str = ""
    at: float = 0.0


def signed_manifest(raw: dict[str, Any]) -> SignedManifest:
    """Read it from an order for another release. Raises `ValueError`, `KeyError` or `TypeError`."""
    return SignedManifest(
        raw["manifest_sha256"], base64.b64decode(raw["signature"]), base64.b64decode(raw["certificate"])
    )


#: What reading a value of another type, form or size raises.
_OF_ANOTHER_SHAPE = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def _seconds(value: object) -> float:
    """Return them; raise `ValueError` for what is no length of time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("that is no length of time")
    return float(value)


class Files(Generic[W]):
    """The folder's files; `wanted_of` reads what is wanted from an order."""

    def __init__(self, folder: Path, wanted_of: Callable[[dict[str, Any]], W]) -> None:
        self._wanted_of = wanted_of
        self._order = folder / "order.json"
        self._status = folder / "status.json"
        self._confirmed = folder / "confirmed"

    def order(self) -> Order[W] | None:
        """Return what there is to do. Raises `UnreadableOrder` for what the root half never writes."""
        try:
            raw = parse_order(self._order.read_bytes())
        except FileNotFoundError:
            return None
        if raw["back"]:
            return Order(raw["release"])
        try:
            patience = Patience(_seconds(raw["patience_seconds"]), _seconds(raw["soak_seconds"]))
            return Order(raw["release"], self._wanted_of(raw), patience)
        except _OF_ANOTHER_SHAPE as error:
            raise UnreadableOrder(f"what it wants is not clear: {type(error).__name__}") from error

    def order_done(self) -> None:
        """Forget it."""
        self._order.unlink(missing_ok=True)

    def progress(self) -> Progress | None:
        """Return how the last change stands; None where there was none, or its file cannot be read."""
        try:
            raw = json.loads(self._status.read_bytes())
            return Progress(**{**raw, "state": State(raw["state"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, progress: Progress) -> None:
        """Write down how it stands now; on disk when this returns."""
        content = json.dumps({**asdict(progress), "at": time.time()})
        draft = self._status.with_name(".status.new")
        with draft.open("w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._status)

    def forget_confirmation(self) -> None:
        """Let only a word that comes from now on count."""
        self._confirmed.unlink(missing_ok=True)

    def is_confirmed(self, release: str) -> bool:
        """Whether the control plane has heard of it."""
        try:
            return self._confirmed.read_text() == release
        except OSError:
            return False
