"""`fleet packages`: versions of the mail packages on all servers, ring by ring."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.output import Instance, Json
from control_plane.cli.ring_plans import act_on_plan, go_on_with_plan, show_plans, tell_plan
from control_plane.cli.upgrades import (
    PATIENCE_SECONDS,
    SOAK_MINUTES,
    Abort,
    Apply,
    Canary,
    Patience,
    Reason,
    Sends,
    Soak,
    Status,
)
from control_plane.errors import InvalidInput
from control_plane.operators import upgrades
from control_plane.upgrades.package_plans import PackagesWish
from control_plane.upgrades.plans import PACE, Pace


def packages(
    *,
    plan: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VERSION", help="Plan a package; once more for another distribution's version."),
    ] = None,
    canary: Canary = None,
    sends: Sends = PACE.minimum_sends,
    soak: Soak = SOAK_MINUTES,
    patience: Patience = PATIENCE_SECONDS,
    apply: Apply = None,
    abort: Abort = None,
    status: Status = None,
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Bring mail packages to other versions by rings: a canary, a tenth, all; what does worse goes back by itself.

    From its first plan on a server holds them: nothing but plans changes them there. Without an option it lists plans.
    """
    if sum(wish is not None for wish in (plan or None, apply, abort, status)) > 1:
        raise InvalidInput("give one of --plan, --apply, --abort and --status")
    if plan:
        pace = Pace(sends, dt.timedelta(minutes=soak), dt.timedelta(seconds=patience))
        wish = PackagesWish(_versions(plan), canary or [], pace)
        made = act_on_plan(instance, lambda session: upgrades.make_package_plan(session, this_user(), wish, reason))
        sentence = f"planned in {made['rings']} rings; `penguin fleet packages --apply {made['id']}`"
        tell_plan(made, sentence, as_json=as_json)
    elif not go_on_with_plan(instance, apply=apply, abort=abort, status=status, reason=reason, as_json=as_json):
        show_plans(instance, as_json=as_json)


def _versions(words: Sequence[str]) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = defaultdict(list)
    for word in words:
        name, is_set, version = word.partition("=")
        if not is_set:
            raise InvalidInput(f"{word}: give NAME=VERSION")
        versions[name].append(version)
    return versions
