"""`fleet healing`: what the fleet may do about itself."""

import asyncio
import uuid
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.healing.rules import read_rules
from control_plane.operators import healing
from control_plane.operators.rule_files import RuleFiles
from control_plane.processes.places import state_dir
from control_plane.settings import Settings

healing_commands = typer.Typer(no_args_is_help=True, help="What the fleet may do about itself, by which rules.")

_FORBIDDEN = ("rule", "of_vps_id", "reason", "created_by", "created_at")

Rule = Annotated[str | None, typer.Argument(help="One rule; all of them without.")]
Server = Annotated[uuid.UUID | None, typer.Option(help="On one server; on all of them without.")]


@healing_commands.command("list")
def show(*, as_json: Json = False, instance: Instance = "main") -> None:
    """List the rules, and what is forbidden."""
    known = read_rules(_rules(instance).healing)
    rules = [{"rule": rule.name, "act": rule.act.value, "an_hour": rule.budget} for rule in known]
    rows = asyncio.run(_load(instance))
    if as_json:
        print_json({"rules": rules, "forbidden": rows})
        return
    print_table(rules)
    if rows:
        print("\nForbidden:")
        print_table([{**row, "rule": row["rule"] or "all", "of_vps_id": row["of_vps_id"] or "all"} for row in rows])


@healing_commands.command("forbid")
def forbid(
    rule: Rule = None,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record of acts.")],
    server: Server = None,
    instance: Instance = "main",
) -> None:
    """Forbid a rule, or all; what stands by it is taken back in seconds. Leases end at their deadline all the same."""

    async def act() -> None:
        async with system_session(instance) as session:
            await healing.forbid(session, this_user(), _rules(instance), rule, server, reason=reason)

    asyncio.run(act())
    say(f"{rule or 'every rule'} does nothing on {server or 'any server'} from now on")


@healing_commands.command("allow")
def allow(rule: Rule = None, *, server: Server = None, instance: Instance = "main") -> None:
    """Allow again what was forbidden in the same words."""

    async def act() -> None:
        async with system_session(instance) as session:
            await healing.allow(session, this_user(), rule, server)

    asyncio.run(act())
    say(f"{rule or 'every rule'} is allowed on {server or 'all servers'} again")


def _rules(instance: str) -> RuleFiles:
    return RuleFiles.of(Settings(state_dir=state_dir(instance)))


async def _load(instance: str) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return [{name: getattr(each, name) for name in _FORBIDDEN} for each in await healing.forbidden(session)]
