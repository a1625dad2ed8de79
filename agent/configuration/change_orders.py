"""Orders for a unit that changes what runs here and goes back by itself (agent/upgrade/order.py reads them).

An order is put into its place whole, so one that cannot be read is none of ours: a disk has failed, or somebody has
written there. What it wanted is not known, so nothing new is begun by it, and nothing is put into its place before its
unit has called off what it may have begun.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from agent.configuration.told import Refused
from mailstack.apply.host import Host, StoredFile, must_run

_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}", re.ASCII)
#: Seconds.
_LONGEST_WATCH = 3600.0


class Watched(Protocol):
    """What a command for a change says, whatever changes."""

    release: str
    patience_seconds: float
    soak_seconds: float


class UnreadableOrder(Exception):
    """It is not what is written here; the message says why."""


def parse_order(content: bytes) -> dict[str, Any]:
    """Return an order, with a `release` of a release's form and whether it goes `back`; raise `UnreadableOrder`."""
    try:
        order = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableOrder(f"it is no JSON: {type(error).__name__}") from error
    if not isinstance(order, dict):
        raise UnreadableOrder("it is no object")
    release, back = order.get("release"), order.get("back")
    if not (isinstance(release, str) and _RELEASE.fullmatch(release) and isinstance(back, bool)):
        raise UnreadableOrder("it does not say which release, or which way")
    return order


class ChangeOrders:
    """The orders of one unit, in its folder."""

    def __init__(self, folder: Path, unit: str) -> None:
        self._folder = folder
        self._unit = unit

    def forth(self, asked: Watched, wanted: Mapping[str, object], host: Host) -> str:
        """Order what is wanted. Raises `Refused`."""
        if not (0 < asked.patience_seconds <= _LONGEST_WATCH and 0 <= asked.soak_seconds <= _LONGEST_WATCH):
            raise Refused(f"a change is watched for at most {_LONGEST_WATCH:.0f} s")
        watch = {"patience_seconds": asked.patience_seconds, "soak_seconds": asked.soak_seconds}
        return self._order(asked.release, {"back": False, **wanted, **watch}, host)

    def back(self, release: str, host: Host) -> str:
        """Order what was before a release. Raises `Refused`."""
        return self._order(release, {"back": True}, host)

    def confirm(self, release: str, host: Host) -> str:
        """Note that the control plane has heard of it."""
        host.write(str(self._folder / "confirmed"), StoredFile(release.encode(), "root", "root", 0o600))
        return "it is known to be heard of"

    def _order(self, release: str, order: Mapping[str, object], host: Host) -> str:
        """Write it down, unless another is being carried out; the unit takes it away when it is done."""
        if not _RELEASE.fullmatch(release):
            raise Refused("that is no release's name")
        path = str(self._folder / "order.json")
        found = host.read(path)
        if found is not None:
            self._refuse_another(found.content, release, order["back"], host)
        else:
            content = json.dumps({"release": release, **order}).encode()
            host.write(path, StoredFile(content, "root", "root", 0o600))
        self._start(host)
        return "it is ordered"

    def _refuse_another(self, content: bytes, release: str, back: object, host: Host) -> None:
        try:
            pending = parse_order(content)
        except UnreadableOrder as error:
            self._start(host)
            raise Refused(f"the order that is there cannot be read ({error}); it is called off, ask again") from error
        if (pending["release"], pending["back"]) != (release, back):
            raise Refused(f"a change to or from {pending['release']} is under way")

    def _start(self, host: Host) -> None:
        """Start the unit, now and after a cut by the server's end: one that came with an upgrade is not enabled yet."""
        for argv in (["systemctl", "enable", "--quiet", self._unit], ["systemctl", "start", "--no-block", self._unit]):
            must_run(host, argv)
