"""`fleet show`: one server on one page."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli.installation import system_session
from control_plane.cli.logins import login_lines
from control_plane.cli.output import Instance, Json, print_json
from control_plane.cli.package_updates import update_lines
from control_plane.cli.queue_lines import queue_lines
from control_plane.clock import utc_now
from control_plane.errors import NotFound
from control_plane.fleet.servers import ServerHealth, server_health
from control_plane.healing.acts import acts_about
from control_plane.monitoring.changes import Change, changes_before
from control_plane.monitoring.fleet import CheckResult, checks_of
from control_plane.monitoring.history import Point, series
from control_plane.operators.healing import forbidden
from db.models import HealingActRow, HealingForbidden

_ACT = ("rule", "act", "reason", "state", "detail", "began_at", "ended_at", "ended_by")
_MINUTES, _HOURS = 5, 24
_FORBIDDEN = ("rule", "of_vps_id", "reason", "created_by", "created_at")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A metric over the last hours, in steps."""

    metric: str
    hours: float
    minutes: int


@dataclass(frozen=True, slots=True)
class _Page:
    """What is known of one server."""

    health: ServerHealth
    checks: Sequence[CheckResult]
    changes: Sequence[Change]
    acts: Sequence[HealingActRow]
    forbidden: Sequence[HealingForbidden]
    series: Sequence[Point]

    @property
    def drifted(self) -> list[str]:
        """The files that are not as they were applied."""
        return list(self.health.report.configuration_drift.paths) if self.health.report else []


def show(
    vps: Annotated[uuid.UUID, typer.Argument(help="The server's id.")],
    *,
    metric: Annotated[
        str | None, typer.Option(help="Over time, too: load_1m, deferred_ratio, deferred_ratio.google ...")
    ] = None,
    hours: Annotated[float, typer.Option(min=1, help="Of --metric: how far back.")] = _HOURS,
    minutes: Annotated[int, typer.Option(min=5, help="Of --metric: how long a step is.")] = _MINUTES,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Show one server: state, configuration, release, checks, what changed before it got worse, what was healed."""
    page = asyncio.run(_load(instance, vps, _Asked(metric, hours, minutes) if metric else None))
    if as_json:
        print_json(_fields(page))
        return
    for line in (*_head(page), *_checks(page), *_healing(page), *_series(page)):
        print(line)


async def _load(instance: str, vps_id: uuid.UUID, asked: _Asked | None) -> _Page:
    async with system_session(instance) as session:
        health = await server_health(session, vps_id)
        if health is None:
            raise NotFound("there is no such server")
        checks = (await checks_of(session, [vps_id])).get(vps_id, [])
        worse = min((each.changed_at for each in checks if each.state in {"warn", "fail"}), default=None)
        changes = await changes_before(session, vps_id, worse) if worse else []
        acts, rules = await acts_about(session, vps_id), await forbidden(session, vps_id)
        points = await _points(session, vps_id, asked) if asked else []
        return _Page(health, checks, changes, acts, rules, points)


async def _points(session: AsyncSession, vps_id: uuid.UUID, asked: _Asked) -> list[Point]:
    end, step = utc_now(), dt.timedelta(minutes=asked.minutes)
    return await series(session, vps_id, asked.metric, start=end - dt.timedelta(hours=asked.hours), end=end, step=step)


def _fields(page: _Page) -> dict[str, Any]:
    health = page.health
    return {
        "vps_id": health.vps_id,
        "hostname": health.hostname,
        "status": health.status,
        "mail_server_status": health.mail_server_status,
        "reachable": health.reachable,
        "release": health.agent_version,
        "configuration": {
            "desired_version": health.desired_version,
            "applied_version": health.applied_version,
            "drifted": page.drifted,
        },
        "checks": [asdict(each) for each in page.checks],
        "changes": [asdict(each) for each in page.changes],
        "healing": [{name: getattr(act, name) for name in _ACT} for act in page.acts],
        "healing_forbidden": [{name: getattr(each, name) for name in _FORBIDDEN} for each in page.forbidden],
        "series": [asdict(each) for each in page.series],
        "last_report": health.report_fields(),
    }


def _head(page: _Page) -> list[str]:
    health = page.health
    heard = "reachable" if health.reachable else "not reachable"
    drift = f"; changed by hand: {', '.join(page.drifted)}" if page.drifted else ""
    return [
        f"{health.hostname}: {health.status}, {heard}, mail server {health.mail_server_status}",
        f"configuration {health.applied_version} of {health.desired_version}{drift}",
        f"release {health.agent_version or 'not known'}",
        *update_lines(health.report),
        *login_lines(health.report),
        *queue_lines(health.report),
    ]


def _checks(page: _Page) -> list[str]:
    lines = [
        f"{each.state:8} {each.kind:12} {each.sentence} (since {each.changed_at:%Y-%m-%d %H:%M})"
        for each in page.checks
    ]
    changes = [f"before it got worse: {change.at:%Y-%m-%d %H:%M} {change.detail}" for change in page.changes]
    return [*(lines or ["It was not checked yet."]), *changes]


def _healing(page: _Page) -> list[str]:
    acts = [
        f"healing: {act.began_at:%Y-%m-%d %H:%M} {act.act} by {act.rule}, {act.state}: {act.reason}"
        + (f" ({act.detail})" if act.detail else "")
        for act in page.acts
    ]
    return [*acts, *(f"healing forbidden: {each.rule or 'all rules'}: {each.reason}" for each in page.forbidden)]


def _series(page: _Page) -> list[str]:
    return [f"{point.at:%Y-%m-%d %H:%M} {point.value:g}" for point in page.series]
