"""`fleet configuration`: settings of Postfix for the whole fleet, ring by ring."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json
from control_plane.cli.ring_plans import act_on_plan, go_on_with_plan, tell_plan
from control_plane.cli.tables import print_table
from control_plane.cli.upgrades import SOAK_MINUTES, Abort, Apply, Canary, Reason, Sends, Soak, Status
from control_plane.errors import InvalidInput
from control_plane.operators import upgrades
from control_plane.upgrades.configuration_plans import ConfigurationWish, differences, list_settings
from control_plane.upgrades.plans import PACE, Pace

_SHOWN_SERVERS = 5


def configuration(
    *,
    plan: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Plan a setting; NAME= is as it is shipped.")
    ] = None,
    canary: Canary = None,
    sends: Sends = PACE.minimum_sends,
    soak: Soak = SOAK_MINUTES,
    diff: Annotated[
        uuid.UUID | None, typer.Option(metavar="ID", help="Show what a plan changes of servers' files.")
    ] = None,
    apply: Apply = None,
    abort: Abort = None,
    status: Status = None,
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Set something for all servers by rings: a canary, a tenth, all; what delivers worse is taken back by itself.

    A plan shows what it changes of servers' files. Without an option it lists what can be set, and what is.
    """
    if sum(wish is not None for wish in (plan or None, diff, apply, abort, status)) > 1:
        raise InvalidInput("give one of --plan, --diff, --apply, --abort and --status")
    if plan:
        wish = ConfigurationWish(_changes(plan), canary or [], Pace(sends, dt.timedelta(minutes=soak)))
        _plan(instance, wish, reason, as_json=as_json)
    elif diff is not None:
        _print_differences(asyncio.run(_differences(instance, diff)), as_json=as_json)
    elif not go_on_with_plan(instance, apply=apply, abort=abort, status=status, reason=reason, as_json=as_json):
        _list(asyncio.run(_settings(instance)), as_json=as_json)


def _changes(words: Sequence[str]) -> dict[str, str | None]:
    changes: dict[str, str | None] = {}
    for word in words:
        name, is_set, value = word.partition("=")
        if not is_set or name in changes:
            raise InvalidInput(f"{word}: give NAME=VALUE, each name once")
        changes[name] = value or None
    return changes


def _plan(instance: str, wish: ConfigurationWish, reason: str | None, *, as_json: bool) -> None:
    made = act_on_plan(instance, lambda session: upgrades.make_configuration_plan(session, this_user(), wish, reason))
    changed = asyncio.run(_differences(instance, made["id"]))
    if as_json:
        print_json({**made, "differences": changed})
        return
    _print_differences(changed, as_json=False)
    sentence = f"planned in {made['rings']} rings; `penguin fleet configuration --apply {made['id']}`"
    tell_plan(made, sentence, as_json=False)


def _print_differences(changed: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(changed)
        return
    for each in changed:
        servers = each["servers"]
        more = f" and {len(servers) - _SHOWN_SERVERS} more" if len(servers) > _SHOWN_SERVERS else ""
        print(f"On {', '.join(servers[:_SHOWN_SERVERS])}{more}:\n{each['diff'] or 'nothing changes'}\n")


def _list(settings: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(settings)
    else:
        print_table(settings)


async def _settings(instance: str) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return [asdict(each) for each in await list_settings(session)]


async def _differences(instance: str, plan_id: uuid.UUID) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return [asdict(each) for each in await differences(session, plan_id)]
