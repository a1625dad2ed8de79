"""Plans for settings of the whole fleet, and what they change of the files that servers have."""

import difflib
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput
from control_plane.fleet.configurations import in_force, settings_of
from control_plane.upgrades.plans import PACE, Pace, add_plan, show_plan
from db.models import FleetConfiguration, Upgrade
from mailstack.postfix.render import render
from mailstack.spec import MailServerSpec, Platform, ProbeMailbox, SendingAddress
from mailstack.syntax import InvalidSpec
from mailstack.tunables import ALLOWED, SHIPPED, Tunables, vars_of, words_of

#: Debian 12's; what can be set is rendered alike for every other.
_PLATFORM = Platform(postfix=(3, 7), dovecot=(2, 3))

#: Of a request.
_PART = "/settings"

_SERVERS = text(
    "SELECT v.id, v.hostname, host(v.ip_address) AS address, ARRAY(SELECT host(a.address) || ' ' || a.hostname"
    "  FROM server_addresses a WHERE a.vps_id = v.id AND a.address IS NOT NULL"
    "  AND a.state IN ('requested', 'ready', 'draining') ORDER BY a.address) AS further"
    " FROM upgrade_servers u JOIN vps_servers v ON v.id = u.vps_id"
    " WHERE u.upgrade_id = :upgrade AND v.ip_address IS NOT NULL ORDER BY u.ring, v.hostname"
)


@dataclass(frozen=True, slots=True)
class ConfigurationWish:
    """What to set otherwise than it is, None as it is shipped; which servers first, and how carefully."""

    changes: Mapping[str, str | None]
    canaries: Collection[uuid.UUID] = ()
    pace: Pace = PACE


@dataclass(frozen=True, slots=True)
class Setting:
    """What can be set: its value where it is set, as it is shipped, and its bounds in words."""

    name: str
    set: str | None
    shipped: int | str
    may_be: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What a plan changes of servers' files, as a unified diff, and the host names of those that it is the same for."""

    servers: Sequence[str]
    diff: str


async def list_settings(session: AsyncSession) -> Sequence[Setting]:
    """Return all that can be set, and what is; system role."""
    present, shipped = (await in_force(session)).settings, vars_of(SHIPPED)
    return [
        Setting(name, present.get(name), shipped[name], words_of(allowed)) for name, allowed in sorted(ALLOWED.items())
    ]


async def make_configuration_plan(session: AsyncSession, wish: ConfigurationWish, requested_by: str) -> Upgrade:
    """Choose rings of all servers for other settings. Nothing happens before it is applied.

    Raises `InvalidInput` for settings that may not be or are in force already, and where there is no server; `NotFound`
    for a canary that there is not.
    """
    present = await in_force(session)
    settings = changed_settings(present.settings, wish.changes)
    if settings == dict(present.settings):
        raise InvalidInput("So it is already.", _PART)
    configuration = FleetConfiguration(settings=settings, base=present.number)
    session.add(configuration)
    await session.flush()
    plan = Upgrade(id=uuid.uuid4(), configuration=configuration.number, requested_by=requested_by)
    return await add_plan(session, plan, wish.canaries, wish.pace)


def changed_settings(settings: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return all that is not as it is shipped once the changes are made. Raises `InvalidInput`."""
    if unknown := changes.keys() - ALLOWED.keys():
        raise InvalidInput(f"{min(unknown)} cannot be set; what can is {', '.join(sorted(ALLOWED))}.", _PART)
    wanted = {name: value for name, value in {**settings, **changes}.items() if value is not None}
    try:
        return dict(Tunables.of(wanted.items()).changed)
    except InvalidSpec as error:
        raise InvalidInput(f"{error}.", _PART) from error


async def differences(session: AsyncSession, upgrade_id: uuid.UUID) -> Sequence[Difference]:
    """Return what a plan changes of the files that its servers have now; system role.

    Files are rendered as this release does. What can be set is in none that holds a secret, so none is opened for it.
    Raises `NotFound`, and `Conflict` for a plan of something else, whose files are not rendered here.
    """
    plan = (await show_plan(session, upgrade_id)).plan
    if plan.configuration is None:
        raise Conflict("That plan is not for settings; what it brings renders its files itself.")
    configuration = await session.get_one(FleetConfiguration, plan.configuration)
    after = Tunables.of(configuration.settings.items())
    found: dict[str, list[str]] = defaultdict(list)
    for row in (await session.execute(_SERVERS, {"upgrade": plan.id})).all():
        spec = _spec(row.hostname, row.address, row.further)
        before = Tunables.of((await settings_of(session, row.id)).items())
        found[_diff(replace(spec, tunables=before), replace(spec, tunables=after))].append(row.hostname)
    return [Difference(servers, diff) for diff, servers in found.items()]


def _spec(hostname: str, address: str, further: Sequence[str]) -> MailServerSpec:
    """Return a server without what is a tenant's, which lies in files of its own."""
    return MailServerSpec(
        hostname=hostname,
        ipv4_address=address,
        nameservers=(address,),
        domains=(),
        mailboxes=(),
        aliases=(),
        probe=ProbeMailbox(f"probe@{hostname}", "not-the-real-password"),
        sending_addresses=tuple(
            SendingAddress(each, name) for each, _, name in (pair.partition(" ") for pair in further)
        ),
    )


def _diff(before: MailServerSpec, after: MailServerSpec) -> str:
    kept = {file.path: file.content.decode() for file in render(before, _PLATFORM)}
    lines: list[str] = []
    for file in render(after, _PLATFORM):
        old, new = kept[file.path].splitlines(), file.content.decode().splitlines()
        lines += difflib.unified_diff(old, new, file.path, file.path, lineterm="", n=1)
    return "\n".join(lines)
