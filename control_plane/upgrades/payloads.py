"""What goes out by rings: a release of the agent, versions of the mail packages, or a configuration of the fleet.

All are decided about alike (decide.py). They differ in how a server is told, in how it tells what came of it, and in
whether it goes back by itself.
"""

import datetime as dt
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput
from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.fleet.configurations import in_force
from control_plane.fleet.desired import raise_desired_version
from control_plane.fleet.reports import moment, parse_report
from control_plane.upgrades.decide import Told, Word
from control_plane.upgrades.states import PlanState
from db.models import FleetConfiguration, Release, Upgrade
from protos.agent.v1.commands_pb2 import (
    ChangePackages,
    Command,
    ConfirmPackages,
    ConfirmRelease,
    PackageVersions,
    RollBackAgent,
    RollBackPackages,
    UpgradeAgent,
)
from protos.agent.v1.telemetry_pb2 import AgentUpgrade, HealthReport

#: For which a server must do well after it was confirmed, before it says that the release is installed. It is watched
#: on by the plan, from here.
SERVER_SOAK = dt.timedelta(seconds=20)
#: A server that was away when it was told is told again.
_WORD_LIFE = dt.timedelta(seconds=20)
#: Servers that get another configuration in one transaction, which holds their rows.
_AT_ONCE = 200

#: States of a server's own change in which it has the new versions.
_HAS_IT = {"watching", "installed"}

_RELEASE_STATES = {PlanState.DONE: "proven", PlanState.ROLLED_BACK: "failed"}

_TOLD = text(
    "UPDATE upgrade_servers SET told_at = :now WHERE upgrade_id = :upgrade AND vps_id = :vps RETURNING tenant_id"
)
# A row that another transaction holds, which may wait for one of ours, is left for the next round.
_HOLD = text(
    "SELECT trial_configuration, desired_version FROM vps_servers WHERE id = :vps FOR NO KEY UPDATE SKIP LOCKED"
)
_GIVE = text("UPDATE vps_servers SET trial_configuration = :given WHERE id = :vps")
_ASKED = text(
    "UPDATE upgrade_servers SET asked_version = :version WHERE upgrade_id = :upgrade AND vps_id = :vps"
    " AND (asked_version IS NULL OR CAST(:anew AS boolean))"
)
# Of a plan that is done those that were made meanwhile; of one that was rolled back those that did not come along.
_STRAGGLERS = {
    PlanState.DONE: text(
        "SELECT id FROM vps_servers WHERE status <> 'deleted' AND trial_configuration IS DISTINCT FROM :number"
    ),
    PlanState.ROLLED_BACK: text("SELECT id FROM vps_servers WHERE trial_configuration = :number"),
}


class Payload(Protocol):
    """What a plan brings to servers."""

    @property
    def name(self) -> str:
        """As it is shown."""

    @property
    def goes_back_by_itself(self) -> bool:
        """Whether a server that has just got it leaves it again unless it is confirmed."""

    async def check(self, session: AsyncSession) -> None:
        """Raise `Conflict` when a plan with it may not begin any more."""

    def running(self, row: Row[Any]) -> str | None:
        """Return the name of what a server runs (a row of facts.py)."""

    def told(self, row: Row[Any]) -> Told | None:
        """Return what a server said last of what it was told."""

    async def tell(self, session: AsyncSession, plan: Upgrade, vps_id: uuid.UUID, word: Word, now: dt.datetime) -> None:
        """Tell a server; a word that comes twice changes nothing."""

    async def end(self, session: AsyncSession, state: PlanState, now: dt.datetime) -> None:
        """Write down what the plan came to."""


class CommandedPayload(ABC):
    """What servers are told of by commands, and whose unit reports how it stands."""

    goes_back_by_itself = True

    def told(self, row: Row[Any]) -> Told | None:
        """Return it from its last report; None for one with a moment that no calendar has."""
        said = self._said(row)
        try:
            return Told(said.release, said.state, said.reason, moment(said.at_ms)) if said else None
        except InvalidInput:
            return None

    async def tell(self, session: AsyncSession, plan: Upgrade, vps_id: uuid.UUID, word: Word, now: dt.datetime) -> None:
        """Leave it a command."""
        told = {"now": now, "upgrade": plan.id, "vps": vps_id}
        tenant_id: uuid.UUID = (await session.execute(_TOLD, told)).scalar_one()
        order = CommandOrder(tenant_id, vps_id, self._command(word, plan), f"upgrade {plan.id}", _WORD_LIFE)
        await request_command(session, order)

    @abstractmethod
    def _command(self, word: Word, plan: Upgrade) -> Command:
        """Return what a word is to a server."""

    @abstractmethod
    def _said(self, row: Row[Any]) -> AgentUpgrade | None:
        """Return the part of a server's last report that tells of it."""


class ReleasePayload(CommandedPayload):
    """A release of the agent."""

    def __init__(self, release: Release) -> None:
        self._release = release

    @property
    def name(self) -> str:
        """The release's."""
        return self._release.name

    async def check(self, session: AsyncSession) -> None:
        """Find nothing: it was looked at when the plan was made."""

    def running(self, row: Row[Any]) -> str | None:
        """Return its release."""
        version: str | None = row.agent_version
        return version

    async def end(self, session: AsyncSession, state: PlanState, now: dt.datetime) -> None:
        """Say whether it proved itself."""
        del now
        self._release.state = _RELEASE_STATES[state]
        await session.flush()

    def _said(self, row: Row[Any]) -> AgentUpgrade | None:
        report = _report(row)
        return report.agent_upgrade if report and report.HasField("agent_upgrade") else None

    def _command(self, word: Word, plan: Upgrade) -> Command:
        release = self._release
        match word:
            case Word.UPGRADE:
                deed = UpgradeAgent(
                    release=release.name,
                    manifest_sha256=release.manifest_sha256,
                    signature=release.signature,
                    certificate=release.certificate,
                    patience_seconds=plan.patience_seconds,
                    soak_seconds=SERVER_SOAK.total_seconds(),
                )
                return Command(upgrade_agent=deed)
            case Word.CONFIRM:
                return Command(confirm_release=ConfirmRelease(release=release.name))
            case Word.ROLL_BACK:
                return Command(roll_back_agent=RollBackAgent(release=release.name))


class PackagesPayload(CommandedPayload):
    """Versions of the mail packages; on servers the change is called by its plan."""

    def __init__(self, plan_id: uuid.UUID, versions: Mapping[str, Sequence[str]]) -> None:
        self._name = f"packages-{plan_id}"
        self._versions = versions

    @property
    def name(self) -> str:
        """The change's."""
        return self._name

    async def check(self, session: AsyncSession) -> None:
        """Find nothing: it was looked at when the plan was made."""

    def running(self, row: Row[Any]) -> str | None:
        """Return the change that was made last and not taken back."""
        said = self._said(row)
        if said is None:
            return None
        return said.release if said.state in _HAS_IT else said.previous

    async def end(self, session: AsyncSession, state: PlanState, now: dt.datetime) -> None:
        """Leave it as it is: the plan tells what it came to."""

    def _said(self, row: Row[Any]) -> AgentUpgrade | None:
        report = _report(row)
        return report.package_change if report and report.HasField("package_change") else None

    def _command(self, word: Word, plan: Upgrade) -> Command:
        match word:
            case Word.UPGRADE:
                deed = ChangePackages(
                    release=self._name,
                    packages=[PackageVersions(name=each, versions=self._versions[each]) for each in self._versions],
                    patience_seconds=plan.patience_seconds,
                    soak_seconds=SERVER_SOAK.total_seconds(),
                )
                return Command(change_packages=deed)
            case Word.CONFIRM:
                return Command(confirm_packages=ConfirmPackages(release=self._name))
            case Word.ROLL_BACK:
                return Command(roll_back_packages=RollBackPackages(release=self._name))


class ConfigurationPayload:
    """A configuration of the fleet: part of what a server should be, so it hears of it whenever it is linked."""

    goes_back_by_itself = False

    def __init__(self, configuration: FleetConfiguration) -> None:
        self._configuration = configuration
        self._number = configuration.number
        self._told = 0

    @property
    def name(self) -> str:
        """By its number."""
        return f"configuration {self._number}"

    async def check(self, session: AsyncSession) -> None:
        """Raise `Conflict` when other settings are in force than when it was planned: they would be lost."""
        if self._configuration.base != (await in_force(session)).number:
            raise Conflict("Other settings are in force than when it was planned; plan it anew.")

    def running(self, row: Row[Any]) -> str | None:
        """Return this one's name once it is applied, and otherwise that it is another."""
        is_applied = row.asked_version is not None and row.applied_version >= row.asked_version
        has_it = row.trial_configuration == self._number
        return self.name if is_applied == has_it and row.asked_version is not None else "another configuration"

    def told(self, row: Row[Any]) -> Told | None:
        """Return what came of the version with which it got it, or lost it."""
        if row.asked_version is None:
            return None
        if row.applied_version >= row.asked_version:
            state = "installed" if row.trial_configuration == self._number else "rolled_back"
            return Told(self.name, state, "", row.since)
        if row.settled_version >= row.asked_version and row.mail_server_status in {"refused", "rolled_back"}:
            return Told(self.name, row.mail_server_status, row.applied_detail or "", row.since)
        return None

    async def tell(self, session: AsyncSession, plan: Upgrade, vps_id: uuid.UUID, word: Word, now: dt.datetime) -> None:
        """Let it be what it should be from now on; some servers at once, the others in the next round."""
        server = (await session.execute(_HOLD, {"vps": vps_id})).one_or_none() if self._told < _AT_ONCE else None
        if server is None:
            return
        self._told += 1
        given = self._number if word is Word.UPGRADE else None
        version, anew = server.desired_version, server.trial_configuration != given
        if anew:
            await session.execute(_GIVE, {"vps": vps_id, "given": given})
            version = await raise_desired_version(session, vps_id)
        key = {"upgrade": plan.id, "vps": vps_id}
        await session.execute(_ASKED, {**key, "version": version, "anew": anew})
        await session.execute(_TOLD, {**key, "now": now})

    async def end(self, session: AsyncSession, state: PlanState, now: dt.datetime) -> None:
        """Let it be in force, or nowhere."""
        if state is PlanState.DONE:
            self._configuration.proven_at = now
            await session.flush()
        for vps_id in (await session.scalars(_STRAGGLERS[state], {"number": self._number})).all():
            await session.execute(_GIVE, {"vps": vps_id, "given": None})
            await raise_desired_version(session, vps_id)


async def payload_of(session: AsyncSession, plan: Upgrade) -> Payload:
    """Return what a plan brings."""
    if plan.packages is not None:
        return PackagesPayload(plan.id, plan.packages)
    if plan.configuration is not None:
        return ConfigurationPayload(await session.get_one(FleetConfiguration, plan.configuration))
    return ReleasePayload(await session.get_one(Release, plan.release))


def _report(row: Row[Any]) -> HealthReport | None:
    return parse_report(row.report) if row.report else None
