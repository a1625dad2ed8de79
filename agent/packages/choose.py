"""Which packages change, and whether what is there after does well: pure, from what dpkg, apt and systemd say."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agent.upgrade.carry_out import Refused
from agent.upgrade.judge import MOST_RESTARTS, Look

#: What is asked of dpkg-query(1).
INSTALLED_FORMAT = "${Package}\t${Version}\t${db:Status-Status}\n"
#: What dpkg says of a package that is whole,
WHOLE = "installed"
#: and of one that is not there, or of which only configuration is.
_AWAY = ("not-installed", "config-files")
#: What is asked of systemctl-show(1).
SHOWN_PROPERTIES = "Id,ActiveState,NRestarts,ActiveExitTimestampMonotonic"
#: States of a unit that runs, and of one that is between running and not.
_RUNS = frozenset({"active", "reloading"})
_PASSES = frozenset({"activating", "deactivating"})
#: Seconds for a service to be back: after a change, or when somebody restarts it.
_RETURN = 20.0
#: A line of apt-get's simulation: what would be installed or removed.
_TOUCHED = re.compile(r"^(?:Inst|Remv) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Installed:
    """A package as dpkg knows it, by version and status."""

    version: str
    status: str


def parse_installed(output: str) -> dict[str, Installed]:
    """Read what dpkg-query says in `INSTALLED_FORMAT`."""
    rows = (line.split("\t") for line in output.splitlines())
    return {name: Installed(version, status) for name, version, status in rows if status not in _AWAY}


def parse_offered(output: str) -> dict[str, set[str]]:
    """Return the versions that package sources have, from `apt-cache madison`: name | version | source."""
    offered: dict[str, set[str]] = {}
    for line in output.splitlines():
        name, version, *_ = (field.strip() for field in line.split("|"))
        offered.setdefault(name, set()).add(version)
    return offered


def choose(
    wanted: Mapping[str, Sequence[str]], installed: Mapping[str, Installed], offered: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """Return the packages that change, with the versions they are brought to.

    Of those asked for it is the first that is there or offered; what is not installed stays so. Raises `Refused`.
    """
    chosen = {}
    for name, versions in wanted.items():
        present = installed.get(name)
        if present is None:
            continue
        if present.status != WHOLE:
            raise Refused(f"{name} is {present.status} here as it is")
        had = {present.version, *offered.get(name, ())}
        found = next((version for version in versions if version in had), None)
        if found is None:
            raise Refused(f"{name} is offered here as {', '.join(sorted(had))}, and not as {', '.join(versions)}")
        if found != present.version:
            chosen[name] = found
    return chosen


def refuse_others(simulation: str, chosen: Collection[str]) -> None:
    """Raise `Refused` when apt would touch anything else: nothing changes but what was named."""
    # A name has its architecture where that is not the machine's only one.
    touched = {name.partition(":")[0] for name in _TOUCHED.findall(simulation)}
    if others := sorted(touched - set(chosen)):
        raise Refused(f"{', '.join(others)} would change with it; name what else is to change")


def wrong_version(wanted: Mapping[str, str], installed: Mapping[str, Installed]) -> str:
    """Return one sentence about the first package that is not as it should be, else an empty one."""
    for name, version in wanted.items():
        present = installed.get(name)
        if present is None:
            return f"{name} is gone"
        if present != Installed(version, WHOLE):
            return f"{name} {present.version} is {present.status}; {version} should be installed"
    return ""


def look_at_units(shown: str, units: Collection[str], seconds: float, now: float) -> Look:
    """Return what is wrong with the first unit that does badly `seconds` after a change, else whether one is away.

    `shown` are blocks of `systemctl show` with `SHOWN_PROPERTIES`, and `now` is by the clock that systemd tells of, the
    monotonic one.
    """
    is_passing = False
    for unit in parse_units(shown):
        if unit["Id"] not in units:
            continue
        name, active, restarts = unit["Id"], unit.get("ActiveState", "unknown"), int(unit.get("NRestarts", "0"))
        if active == "failed":
            return Look(f"{name} ended for good")
        if restarts > MOST_RESTARTS:
            return Look(f"{name} ended {restarts} times within {seconds:.0f} s")
        if active not in _RUNS:
            # 0 for one that has never run.
            away = min(seconds, now - int(unit.get("ActiveExitTimestampMonotonic", "0")) / 1e6)
            if away > _RETURN:
                return Look(f"{name} is {active} after {away:.0f} s")
            is_passing = True
    return Look(is_passing=is_passing)


def running_units(shown: str) -> list[str]:
    """Return the names of the units that run."""
    return [unit["Id"] for unit in parse_units(shown) if unit.get("ActiveState") in _RUNS]


def passing_units(shown: str) -> list[str]:
    """Return the names of those that are being started or stopped."""
    return [unit["Id"] for unit in parse_units(shown) if unit.get("ActiveState") in _PASSES]


def parse_units(shown: str) -> list[dict[str, str]]:
    """Read blocks of KEY=value lines with an empty line between units."""
    blocks = (block.splitlines() for block in shown.split("\n\n"))
    units = [dict(line.split("=", 1) for line in block if "=" in line) for block in blocks]
    return [unit for unit in units if "Id" in unit]
