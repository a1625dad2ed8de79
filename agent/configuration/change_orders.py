"""Orders for a unit that changes what runs here and goes back by itself (agent/upgrade/order.py reads them)."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from agent.configuration.told import Refused
from mailstack.apply.host import CommandFailed, Host, StoredFile

_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}", re.ASCII)
#: Seconds.
_LONGEST_WATCH = 3600.0


class Watched(Protocol):
    """What a command for a change says, whatever changes."""

    release: str
    patience_seconds: float
    soak_seconds: float


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
            pending = json.loads(found.content)
            if (pending["release"], pending["back"]) != (release, order["back"]):
                raise Refused(f"a change to or from {pending['release']} is under way")
        else:
            content = json.dumps({"release": release, **order}).encode()
            host.write(path, StoredFile(content, "root", "root", 0o600))
        # For one that is cut off by the server's end. A unit that came with an upgrade is not enabled yet.
        for argv in (["systemctl", "enable", "--quiet", self._unit], ["systemctl", "start", "--no-block", self._unit]):
            output = host.run(argv)
            if output.exit_code:
                raise CommandFailed(argv, output)
        return "it is ordered"
