"""Plans by rings as commands show them and act on them: of releases, of the fleet's settings, and of packages."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import print_json, say
from control_plane.cli.tables import print_table
from control_plane.operators import upgrades
from control_plane.upgrades.plans import list_plans, show_plan
from db.models import Upgrade

_PLAN = (
    "id",
    "release",
    "configuration",
    "packages",
    "state",
    "ring",
    "rings",
    "requested_by",
    "created_at",
    "ended_at",
    "reason",
)
_SERVER = ("vps_id", "ring", "state", "since", "reason")
_SHOWN_PLANS = 20


def act_on_plan(instance: str, deed: Callable[[AsyncSession], Awaitable[Upgrade]]) -> dict[str, Any]:
    """Do it in a transaction and return the plan's fields."""

    async def act() -> dict[str, Any]:
        async with system_session(instance) as session:
            return _fields(await deed(session), _PLAN)

    return asyncio.run(act())


def go_on_with_plan(
    instance: str,
    *,
    apply: uuid.UUID | None,
    abort: uuid.UUID | None,
    status: uuid.UUID | None,
    reason: str | None,
    as_json: bool,
) -> bool:
    """Begin, take back or show the plan that is named, and return whether one is."""
    if apply is not None:
        _begin(instance, apply, reason, as_json=as_json)
    elif abort is not None:
        _abort(instance, abort, reason, as_json=as_json)
    elif status is not None:
        _show(instance, status, as_json=as_json)
    else:
        return False
    return True


def _begin(instance: str, plan_id: uuid.UUID, reason: str | None, *, as_json: bool) -> None:
    """Let a plan begin, and say so."""
    begun = act_on_plan(instance, lambda session: upgrades.apply_plan(session, this_user(), plan_id, reason))
    tell_plan(begun, "the plan begins", as_json=as_json)


def _abort(instance: str, plan_id: uuid.UUID, reason: str | None, *, as_json: bool) -> None:
    """Take a plan back, and say how it stands."""
    aborted = act_on_plan(instance, lambda session: upgrades.abort_plan(session, this_user(), plan_id, reason))
    tell_plan(aborted, f"the plan is {aborted['state']}", as_json=as_json)


def _show(instance: str, plan_id: uuid.UUID, *, as_json: bool) -> None:
    """Print a plan and its servers."""
    shown = asyncio.run(_load_one(instance, plan_id))
    if as_json:
        print_json(shown)
        return
    servers = shown.pop("servers")
    print_table([shown])
    print_table(servers)


def show_plans(instance: str, *, as_json: bool) -> None:
    """Print the newest plans."""
    plans = asyncio.run(_load(instance))
    if as_json:
        print_json(plans)
    elif plans:
        print_table(plans)
    else:
        print("There are no plans yet.")


def tell_plan(plan: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print a plan for programs, or a sentence about it."""
    if as_json:
        print_json(plan)
    else:
        say(sentence)


async def _load(instance: str) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return [_fields(each, _PLAN) for each in await list_plans(session, None, _SHOWN_PLANS)]


async def _load_one(instance: str, plan_id: uuid.UUID) -> dict[str, Any]:
    async with system_session(instance) as session:
        shown = await show_plan(session, plan_id)
        return {**_fields(shown.plan, _PLAN), "servers": [_fields(each, _SERVER) for each in shown.servers]}


def _fields(row: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
