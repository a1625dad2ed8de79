"""What each link asks of the database, done for many links in one transaction (together.py)."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.admission import refusals
from control_plane.errors import NotFound, PenguinError
from control_plane.fleet.commands import with_commands
from control_plane.fleet.desired import desired_versions
from control_plane.fleet.links import Opening, Versions, close_links, open_links
from control_plane.fleet.reports import Row, record_reports
from control_plane.hub.caller import Caller
from control_plane.hub.together import Together
from control_plane.monitoring.metrics import Measured
from control_plane.monitoring.samples import Row as ValueRow
from control_plane.monitoring.samples import keep_values
from db.session import Database

#: Seconds from one transaction to the next. A report may wait a little; who connects waits for several things in turn.
_REPORTS_SPACING = 0.1
_LINKS_SPACING = 0.02


@dataclass(frozen=True, slots=True)
class Look:
    """What there may be for a server that is in good standing."""

    desired_version: int
    has_commands: bool


@dataclass(frozen=True, slots=True)
class Entrance:
    """A link that an agent opens, and who it says it is."""

    caller: Caller
    opening: Opening


@dataclass(frozen=True, slots=True)
class Entered:
    """What there is for a server whose link has been opened."""

    versions: Versions
    has_commands: bool


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report as rows: its own (fleet/reports.py), and its values and earlier ones' (monitoring/samples.py)."""

    caller: Caller
    report: Row
    values: Sequence[ValueRow]


class Batches:
    """One of each for a hub; `forward` is given the values that were kept, and does not wait."""

    def __init__(self, database: Database, forward: Callable[[Iterable[Measured]], None]) -> None:
        self._database = database
        self._forward = forward
        #: Raise `Unauthenticated` or `Forbidden` for a caller that may not talk to us, and so do `looks`.
        self.admissions: Together[Caller, None] = Together(self._admit, _LINKS_SPACING)
        self.looks: Together[Caller, Look] = Together(self._look, _LINKS_SPACING)
        #: As `admissions`: since the door asked, the server may have been banned.
        self.openings: Together[Entrance, Entered] = Together(self._open, _LINKS_SPACING)
        #: Links that are gone, as server and link.
        self.closings: Together[tuple[uuid.UUID, uuid.UUID], None] = Together(self._close, _LINKS_SPACING)
        #: As `admissions`: what a server says that may not talk to us is not kept.
        self.reports: Together[KeptReport, None] = Together(self._keep, _REPORTS_SPACING)

    async def _admit(self, callers: Sequence[Caller]) -> Sequence[PenguinError | None]:
        async with self._database.system() as session:
            return await refusals(session, [(caller.identity, caller.serial) for caller in callers])

    async def _look(self, callers: Sequence[Caller]) -> Sequence[Look | PenguinError]:
        servers = [caller.identity.vps_id for caller in callers]
        async with self._database.system() as session:
            outcomes = await refusals(session, [(caller.identity, caller.serial) for caller in callers])
            versions = await desired_versions(session, servers)
            commanded = await with_commands(session, servers)
        return [
            refusal or Look(versions.get(vps_id, 0), vps_id in commanded)
            for vps_id, refusal in zip(servers, outcomes, strict=True)
        ]

    async def _open(self, entrances: Sequence[Entrance]) -> Sequence[Entered | PenguinError]:
        async with self._database.system() as session:
            callers = [entrance.caller for entrance in entrances]
            outcomes = await refusals(session, [(caller.identity, caller.serial) for caller in callers])
            told = list(zip(entrances, outcomes, strict=True))
            opened = await _open_links(session, [entrance.opening for entrance, refusal in told if refusal is None])
        return [refusal or opened[entrance.opening.link] for entrance, refusal in told]

    async def _close(self, links: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> Sequence[None]:
        async with self._database.system() as session:
            await close_links(session, links)
        return [None] * len(links)

    async def _keep(self, reports: Sequence[KeptReport]) -> Sequence[PenguinError | None]:
        async with self._database.system() as session:
            callers = [report.caller for report in reports]
            outcomes = await refusals(session, [(caller.identity, caller.serial) for caller in callers])
            kept = [report for report, refusal in zip(reports, outcomes, strict=True) if refusal is None]
            if kept:
                await keep_values(session, [row for report in kept for row in report.values])
            for turn in turns([report.caller.identity.vps_id for report in kept]):
                await record_reports(session, [kept[place].report for place in turn])
        self._forward(row.measured for report in kept for row in report.values)
        return outcomes


async def _open_links(session: AsyncSession, openings: Sequence[Opening]) -> dict[uuid.UUID, Entered | NotFound]:
    commanded = await with_commands(session, [opening.vps_id for opening in openings])
    opened: dict[uuid.UUID, Entered | NotFound] = {}
    for turn in turns([opening.vps_id for opening in openings]):
        now = [openings[place] for place in turn]
        for opening, outcome in zip(now, await open_links(session, now), strict=True):
            commands = opening.vps_id in commanded
            opened[opening.link] = outcome if isinstance(outcome, NotFound) else Entered(outcome, commands)
    return opened


def turns(servers: Sequence[uuid.UUID]) -> list[list[int]]:
    """Return the places of servers in turns, in which each is there once at most: of several the last counts.

    In each turn they are in order, so that two hubs that change the same rows do not wait for each other.
    """
    taken: dict[uuid.UUID, int] = {}
    ordered: list[list[int]] = []
    for place, vps_id in enumerate(servers):
        turn = taken[vps_id] = taken.get(vps_id, -1) + 1
        if turn == len(ordered):
            ordered.append([])
        ordered[turn].append(place)
    return [sorted(turn, key=lambda place: servers[place]) for turn in ordered]
