"""`plan`: what tenants may have."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.errors import InvalidInput
from control_plane.operators.acts import Act, record
from control_plane.tenancy import plans

plan_commands = typer.Typer(no_args_is_help=True, help="Plans: how much tenants may have.")

_ONES_OWN = f"A limit of this tenant's own, such as inboxes=70 or inboxes=none; of {', '.join(plans.LIMITED)}."


@plan_commands.command("list")
def list_plans(as_json: Json = False, instance: Instance = "main") -> None:
    """List the plans and their limits."""
    rows = asyncio.run(_list(instance))
    if as_json:
        print_json(rows)
    else:
        print_table([{name: "-" if value is None else value for name, value in row.items()} for row in rows])


@plan_commands.command("set")
def set_plan(
    tenant: Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")],
    plan: Annotated[str, typer.Argument(help="The plan's name, as `list` shows it.")],
    limit: Annotated[list[str] | None, typer.Option(help=f"{_ONES_OWN} May be given again.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Give a tenant a plan, and limits of its own in place of the plan's. What there is beyond them stays."""
    own = dict(_own_limit(each) for each in limit or [])
    asyncio.run(_set(instance, tenant, plan, own))
    if as_json:
        print_json({"tenant_id": tenant, "plan": plan, "limits": own})
    else:
        say(f"the tenant {tenant} has the plan {plan}")


def _own_limit(text: str) -> tuple[str, int | None]:
    what, _, most = text.partition("=")
    if most != "none" and not (most.isascii() and most.isdigit() and len(most) < 10):
        raise InvalidInput(f"a limit is given as inboxes=70 or inboxes=none, and not as {text!r}")
    return what, None if most == "none" else int(most)


async def _list(instance: str) -> Sequence[dict[str, Any]]:
    async with system_session(instance) as session:
        return [dict(row._mapping) for row in await plans.list_plans(session)]  # noqa: SLF001 - public, by its docs


async def _set(instance: str, tenant: uuid.UUID, plan: str, own: dict[str, int | None]) -> None:
    async with system_session(instance) as session:
        await plans.set_plan(session, tenant, plan, own)
        limits = [f"{what}={'none' if most is None else most}" for what, most in sorted(own.items())]
        subject = {"tenant_id": tenant, "plan": plan, "limits": limits or None}
        await record(session, this_user(), Act.SET_PLAN, subject)
