"""What changed on a server before it got worse: as far as rows tell, whoever asks."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.monitoring.metrics import derive
from control_plane.monitoring.samples import HOUR
from protos.agent.v1.commands_pb2 import ChangePackages, Command

#: How long before something got worse what may have led to it is looked for.
LOOK_BACK = dt.timedelta(hours=2)
#: Volumes that differ by so much are another volume.
_OTHER_VOLUME = 2.0
_MOST = 100

# What a plan has taken back is applied no longer, so what plans gave is told by rows of its own: settings of the fleet
# here, releases and packages among commands.
_CHANGES = text(
    "SELECT at, kind, detail FROM ("
    " SELECT applied_at AS at, 'configuration' AS kind, 'configuration ' || applied_version || ' was applied' AS detail"
    "  FROM vps_servers WHERE id = :vps"
    " UNION ALL SELECT asked_at, 'configuration', 'a plan gave it other settings of the fleet'"
    "  FROM upgrade_servers WHERE vps_id = :vps AND asked_version IS NOT NULL"
    " UNION ALL SELECT since, 'configuration', 'a plan took settings of the fleet back'"
    "  FROM upgrade_servers WHERE vps_id = :vps AND asked_version IS NOT NULL AND state IN ('reverting', 'reverted')"
    " UNION ALL SELECT agent_version_since, 'version', 'its agent became ' || coalesce(agent_version, 'another')"
    "  FROM server_health WHERE vps_id = :vps"
    " UNION ALL SELECT n.published_at, 'dns', n.record_type || ' ' || n.record_name || ' of ' || n.domain"
    "   || ' was published'"
    "  FROM dns_records n JOIN inboxes i ON i.tenant_id = n.tenant_id AND i.id = n.inbox_id WHERE i.vps_id = :vps"
    " UNION ALL SELECT i.created_at, 'inbox', 'the inbox ' || i.email_address || ' was made'"
    "  FROM inboxes i WHERE i.vps_id = :vps"
    ") AS changes WHERE at BETWEEN :from AND :to ORDER BY at DESC LIMIT :most"
)
# A word that comes twice changes nothing.
_COMMANDS = text(
    "SELECT min(c.created_at) AS at, c.command FROM vps_servers v"
    " JOIN server_commands c ON c.tenant_id = v.tenant_id AND c.vps_id = v.id WHERE v.id = :vps"
    " AND c.kind IN ('upgrade_agent', 'roll_back_agent', 'change_packages', 'roll_back_packages') AND c.state = 'done'"
    " AND c.created_at BETWEEN :from AND :to GROUP BY c.kind, c.command ORDER BY at DESC LIMIT :most"
)
_SAMPLES = text("SELECT at, measured FROM health_samples WHERE vps_id = :vps AND at >= :from AND at < :to ORDER BY at")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed: configuration, version, packages, dns, inbox or volume."""

    at: dt.datetime
    kind: str
    detail: str


async def changes_before(session: AsyncSession, vps_id: uuid.UUID, at: dt.datetime) -> list[Change]:
    """Return what changed in the two hours before a moment, newest first, and whether the volume did."""
    window = {"vps": vps_id, "from": at - LOOK_BACK, "to": at, "most": _MOST}
    changes = [Change(*row) for row in await session.execute(_CHANGES, window)]
    commands = await session.execute(_COMMANDS, window)
    changes += [Change(row.at, *told_of(Command.FromString(row.command))) for row in commands]
    volume = await _volume_change(session, vps_id, at)
    newest_first = sorted(changes, key=lambda change: change.at, reverse=True)[:_MOST]
    return [*newest_first, *([volume] if volume else [])]


def told_of(command: Command) -> tuple[str, str]:
    """Return what a command changes of a server, and what it makes of it; of those alone that plans give."""
    match command.WhichOneof("deed"):
        case "upgrade_agent":
            return "version", f"a plan had its agent become {command.upgrade_agent.release}"
        case "roll_back_agent":
            return "version", f"a plan had its agent leave {command.roll_back_agent.release}"
        case "change_packages":
            return "packages", f"a plan had its packages become {_packages(command.change_packages)}"
        case _:
            return "packages", "a plan had its packages become what they were before"


def _packages(change: ChangePackages) -> str:
    return ", ".join(f"{each.name} {' or '.join(each.versions)}" for each in change.packages)


async def _volume_change(session: AsyncSession, vps_id: uuid.UUID, at: dt.datetime) -> Change | None:
    """Compare the attempts of the hour before with those of an hour of the day before that."""
    rows = (await session.execute(_SAMPLES, {"vps": vps_id, "from": at - 25 * HOUR, "to": at})).all()
    lately = sum(_attempts(row.measured) for row in rows if row.at >= at - HOUR)
    before = [row for row in rows if row.at < at - HOUR]
    if not before:
        return None
    hours = max(1.0, (at - HOUR - before[0].at) / HOUR)
    usual = sum(_attempts(row.measured) for row in before) / hours
    if max(lately, usual) < 1 or 1 / _OTHER_VOLUME < (lately + 1) / (usual + 1) < _OTHER_VOLUME:
        return None
    return Change(
        at - HOUR, "volume", f"{lately:.0f} attempts in the hour before, {usual:.0f} in an hour of the day before"
    )


def _attempts(measured: Sequence[float | None]) -> float:
    derived = derive(measured)
    return derived["delivered"] + derived["deferred"] + derived["bounced"]
