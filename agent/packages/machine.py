"""The server as a change of its mail packages sees it: two folders of packages, apt, and systemd.

For each change there is a folder with the packages that it brings, and one, named as the change before it, with those
that it took away; either can be installed without a package source.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.packages.choose import (
    INSTALLED_FORMAT,
    SHOWN_PROPERTIES,
    Installed,
    choose,
    look_at_units,
    parse_installed,
    parse_offered,
    passing_units,
    refuse_others,
    running_units,
    wrong_version,
)
from agent.packages.commands import run
from agent.packages.repack import repack
from agent.upgrade.carry_out import Refused
from agent.upgrade.judge import Look
from mailstack.packages import MAIL_PACKAGES, checked_versions

#: Where there was no change yet.
AS_FOUND = "as-found"
_UNITS = (
    *("postfix.service", "postfix@-.service", "dovecot.service", "opendkim.service", "opendmarc.service"),
    *("nginx.service", "certbot.timer"),
)
#: Seconds: to ask a program, to fetch, and to install. dpkg's lock may be another's for a while.
_ASK, _FETCH, _INSTALL = 60.0, 300.0, 480.0
_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0")
#: An operator's files stay, and nothing but what is named comes.
_CHANGE = (
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
    *("install", "--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages"),
)
#: To have the packages held, with so many seconds between tries.
_HOLD_TRIES, _HOLD_PAUSE = 12, 10.0
#: Looks at units that are being started or stopped, with so many seconds in between.
_LOOKS, _LOOK_PAUSE = 30, 1.0
_DPKG_JOURNAL = Path("/var/lib/dpkg/updates")
_SET = "set.json"

_log = logging.getLogger(__name__)

Versions = Mapping[str, Sequence[str]]


class NotBack(Exception):
    """The packages of before could not be installed; the message says why. Another run tries again."""


@dataclass(frozen=True, slots=True)
class PackageSet:
    """What is in a folder: packages with their versions, and the units that ran with what was before."""

    versions: Mapping[str, str]
    units: Sequence[str]
    #: Made of what was installed.
    is_way_back: bool


class Packages:
    """The mail packages of this server; `folder` is the unit's own."""

    def __init__(self, folder: Path) -> None:
        self._sets = folder / "sets"
        self._current = folder / "current"

    def current(self) -> str:
        """Return the name of the change that was made last and is not taken back."""
        return (self._current.read_text() if self._current.is_file() else "") or AS_FOUND

    def install(self, release: str, wanted: Versions) -> None:
        """Fetch what changes, and make packages of what it takes away. Raises `Refused`."""
        try:
            self._prepare(release, wanted)
        except OSError as error:
            raise Refused(str(error)) from error

    def is_installed(self, release: str) -> bool:
        """Whether its packages are there."""
        return bool(release) and (self._sets / release / _SET).is_file()

    def switch(self, release: str) -> None:
        """Install the packages of a set. Raises `NotBack` for those of before; of others `look` tells."""
        there = self._read(release)
        _mend()
        if there.versions:
            _apt(*_CHANGE, *map(str, sorted((self._sets / release).glob("*.deb"))))
            # apt lets go of what it changes.
            _hold(there.versions)
        # After the way back nobody watches.
        _let_run(there.units, wait=there.is_way_back)
        self._current.write_text(release)
        if there.is_way_back and (wrong := wrong_version(there.versions, _installed())):
            raise NotBack(wrong)

    def look(self, seconds: float) -> Look:
        """Look at what dpkg and systemd say of the current set."""
        there = self._read(self.current())
        if wrong := wrong_version(there.versions, _installed()):
            return Look(wrong)
        return look_at_units(_shown(), there.units, seconds, time.monotonic())

    def settle(self, release: str, previous: str) -> None:
        """Keep the way back, and what it leads from."""
        for folder in self._sets.iterdir():
            if folder.name not in {release, previous}:
                shutil.rmtree(folder)

    def discard(self, release: str) -> None:
        """Take the packages of a change away that was not made."""
        shutil.rmtree(self._sets / release, ignore_errors=True)

    def _prepare(self, release: str, wanted: Versions) -> None:
        _mend()
        installed = _installed()
        if not _hold(installed):
            raise Refused("packages cannot be held: another program changes them")
        _apt("update")
        offered = parse_offered(_must("apt-cache", "madison", *installed))
        chosen = choose(wanted, installed, offered)
        units = _wanted_units()
        if chosen:
            simulated = _must(*_APT, "--simulate", *_CHANGE, *(f"{name}={chosen[name]}" for name in chosen))
            refuse_others(simulated, chosen)
        self._fetch(release, PackageSet(chosen, units, is_way_back=False))
        before = {name: installed[name].version for name in chosen}
        self._keep(self.current(), PackageSet(before, units, is_way_back=True))
        # What comes next counts on them after a power cut.
        os.sync()

    def _fetch(self, name: str, brings: PackageSet) -> None:
        folder = self._emptied(name)
        if brings.versions:
            words = [f"{package}={version}" for package, version in brings.versions.items()]
            fetched = run([*_APT, "download", *words], _FETCH, folder)
            if fetched.exit_code:
                raise Refused(f"the packages could not be fetched: {fetched.last_words}")
        _write(folder, brings)

    def _keep(self, name: str, takes: PackageSet) -> None:
        folder = self._emptied(name)
        for package in takes.versions:
            repack(package, folder / f"{package}.deb")
        _write(folder, takes)

    def _emptied(self, name: str) -> Path:
        folder = self._sets / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _read(self, name: str) -> PackageSet:
        return PackageSet(**json.loads((self._sets / name / _SET).read_bytes()))


def _write(folder: Path, content: PackageSet) -> None:
    """Say what is in a folder, last of all."""
    (folder / _SET).write_text(json.dumps(asdict(content)))


def wanted_versions(raw: dict[str, Any]) -> Versions:
    """Read it from an order. Raises `ValueError` or `KeyError`."""
    return checked_versions(raw["packages"])


def _installed() -> dict[str, Installed]:
    # It ends badly where one of them is not known, and tells of the others.
    asked = ["dpkg-query", "--show", f"--showformat={INSTALLED_FORMAT}", *sorted(MAIL_PACKAGES)]
    return parse_installed(run(asked, _ASK).stdout)


def _hold(packages: Iterable[str]) -> bool:
    """Let them change by plans alone, and return whether that was possible: another may have dpkg for long."""
    for _ in range(_HOLD_TRIES):
        if not run(["apt-mark", "hold", *packages], _ASK).exit_code:
            return True
        time.sleep(_HOLD_PAUSE)
    return False


def _mend() -> None:
    """Bring dpkg to an end where it was cut off, for apt begins nothing before."""
    if any(_DPKG_JOURNAL.iterdir()) or run(["dpkg", "--audit"], _ASK).stdout.strip():
        _log.warning("dpkg was cut off; it goes on")
        run(["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"], _INSTALL)


def _wanted_units() -> list[str]:
    """Return the units that run; one that somebody is just restarting is waited for, and counts as one in any case."""
    for _ in range(_LOOKS):
        if not passing_units(_shown()):
            break
        time.sleep(_LOOK_PAUSE)
    shown = _shown()
    return running_units(shown) + passing_units(shown)


def _let_run(units: Sequence[str], *, wait: bool) -> None:
    """Have those units run that ran before, and no other that a package may have started."""
    run(["systemctl", "reset-failed", *_UNITS], _ASK)
    if others := sorted(set(running_units(_shown())) - set(units)):
        run(["systemctl", "stop", *others], _ASK)
    if units:
        run(["systemctl", "start", *([] if wait else ["--no-block"]), *units], _ASK)


def _shown() -> str:
    return run(["systemctl", "show", f"--property={SHOWN_PROPERTIES}", *_UNITS], _ASK).stdout


def _apt(*words: str) -> None:
    """Have it done as far as it can be; what is there after is looked at."""
    output = run([*_APT, *words], _INSTALL)
    if output.exit_code:
        _log.warning("apt-get: %s", output.last_words)


def _must(*argv: str) -> str:
    output = run(argv, _ASK)
    if output.exit_code:
        raise Refused(f"{' '.join(argv[:2])}: {output.last_words}")
    return output.stdout
