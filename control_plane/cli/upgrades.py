"""`fleet upgrade`: plans to upgrade servers to a release, ring by ring."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.errors import InvalidInput
from control_plane.operators import upgrades
from control_plane.upgrades.plans import PACE, Pace, Wish, list_plans, show_plan
from db.models import Upgrade

_PLAN = ("id", "release", "state", "ring", "rings", "requested_by", "created_at", "ended_at", "reason")
_SERVER = ("vps_id", "ring", "state", "since", "reason")
_SHOWN_PLANS = 20


def upgrade(
    *,
    plan: Annotated[str | None, typer.Option(metavar="VERSION", help="Plan an upgrade to a release.")] = None,
    canary: Annotated[list[uuid.UUID] | None, typer.Option(help="With --plan: a server of the first ring.")] = None,
    sends: Annotated[
        int, typer.Option(min=0, help="With --plan: a ring is watched for so many attempts,")
    ] = PACE.minimum_sends,
    soak: Annotated[float, typer.Option(min=0, help="or for so many minutes.")] = PACE.soak.total_seconds() / 60,
    patience: Annotated[float, typer.Option(min=10, max=3600, help="Seconds that a new release gets to link.")] = 180,
    apply: Annotated[uuid.UUID | None, typer.Option(metavar="ID", help="Let a plan begin.")] = None,
    abort: Annotated[uuid.UUID | None, typer.Option(metavar="ID", help="Take a plan back.")] = None,
    status: Annotated[uuid.UUID | None, typer.Option(metavar="ID", help="Show a plan and its servers.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the record of acts.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Upgrade servers by rings: a canary, a tenth, all; each is watched, and a bad release goes back by itself.

    Without an option it lists the plans.
    """
    if sum(wish is not None for wish in (plan, apply, abort, status)) > 1:
        raise InvalidInput("give one of --plan, --apply, --abort and --status")
    actor = this_user()
    if plan is not None:
        pace = Pace(sends, dt.timedelta(minutes=soak), dt.timedelta(seconds=patience))
        wish = Wish(plan, canary or [], pace)
        made = _run(instance, lambda session: upgrades.make_plan(session, actor, wish, reason))
        _tell(made, f"planned in {made['rings']} rings; `penguin fleet upgrade --apply {made['id']}`", as_json=as_json)
    elif apply is not None:
        begun = _run(instance, lambda session: upgrades.apply_plan(session, actor, apply, reason))
        _tell(begun, "the upgrade begins", as_json=as_json)
    elif abort is not None:
        aborted = _run(instance, lambda session: upgrades.abort_plan(session, actor, abort, reason))
        _tell(aborted, f"the plan is {aborted['state']}", as_json=as_json)
    elif status is not None:
        _show(asyncio.run(_load_one(instance, status)), as_json=as_json)
    else:
        _list(asyncio.run(_load(instance)), as_json=as_json)


def _run(instance: str, deed: Callable[[AsyncSession], Awaitable[Upgrade]]) -> dict[str, Any]:
    async def act() -> dict[str, Any]:
        async with system_session(instance) as session:
            return _fields(await deed(session), _PLAN)

    return asyncio.run(act())


def _tell(plan: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(plan)
    else:
        say(sentence)


def _list(plans: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(plans)
    elif plans:
        print_table(plans)
    else:
        print("There are no plans yet.")


def _show(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    servers = shown.pop("servers")
    print_table([shown])
    print_table(servers)


async def _load(instance: str) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return [_fields(each, _PLAN) for each in await list_plans(session, _SHOWN_PLANS)]


async def _load_one(instance: str, upgrade_id: uuid.UUID) -> dict[str, Any]:
    async with system_session(instance) as session:
        shown = await show_plan(session, upgrade_id)
        return {**_fields(shown.plan, _PLAN), "servers": [_fields(each, _SERVER) for each in shown.servers]}


def _fields(row: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
