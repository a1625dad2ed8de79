"""`fleet upgrade`: plans to upgrade servers to a release, ring by ring."""

import datetime as dt
import uuid
from typing import Annotated

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.output import Instance, Json
from control_plane.cli.ring_plans import act_on_plan, go_on_with_plan, show_plans, tell_plan
from control_plane.errors import InvalidInput
from control_plane.operators import upgrades
from control_plane.upgrades.plans import PACE, Pace, Wish

Canary = Annotated[list[uuid.UUID] | None, typer.Option(help="With --plan: a server of the first ring.")]
Sends = Annotated[int, typer.Option(min=0, help="With --plan: a ring is watched for so many attempts,")]
Soak = Annotated[float, typer.Option(min=0, help="or for so many minutes.")]
Patience = Annotated[
    float, typer.Option(min=10, max=3600, help="Seconds within which a server must be heard of after the change.")
]
Apply = Annotated[uuid.UUID | None, typer.Option(metavar="ID", help="Let a plan begin.")]
Abort = Annotated[uuid.UUID | None, typer.Option(metavar="ID", help="Take a plan back.")]
Status = Annotated[uuid.UUID | None, typer.Option(metavar="ID", help="Show a plan and its servers.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record of acts.")]

SOAK_MINUTES = PACE.soak.total_seconds() / 60
PATIENCE_SECONDS = PACE.patience.total_seconds()


def upgrade(
    *,
    plan: Annotated[str | None, typer.Option(metavar="VERSION", help="Plan an upgrade to a release.")] = None,
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
    """Upgrade servers by rings: a canary, a tenth, all; each is watched, and a bad release goes back by itself.

    Without an option it lists the plans.
    """
    if sum(wish is not None for wish in (plan, apply, abort, status)) > 1:
        raise InvalidInput("give one of --plan, --apply, --abort and --status")
    if plan is not None:
        pace = Pace(sends, dt.timedelta(minutes=soak), dt.timedelta(seconds=patience))
        wish = Wish(plan, canary or [], pace)
        made = act_on_plan(instance, lambda session: upgrades.make_plan(session, this_user(), wish, reason))
        sentence = f"planned in {made['rings']} rings; `penguin fleet upgrade --apply {made['id']}`"
        tell_plan(made, sentence, as_json=as_json)
    elif not go_on_with_plan(instance, apply=apply, abort=abort, status=status, reason=reason, as_json=as_json):
        show_plans(instance, as_json=as_json)
