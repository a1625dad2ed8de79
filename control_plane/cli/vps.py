"""`vps`: servers, how far their runs have come, what waits for a person, and strays at the providers."""

import asyncio
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from sqlalchemy import select

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import FAILED, Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.cli.vps_watch import watch_runs
from control_plane.clock import utc_now
from control_plane.errors import NotFound
from control_plane.operators import servers
from control_plane.operators.servers import ServerStanding
from control_plane.provisioning.strays import looks, strays, want_look
from db.models import ProviderLook, StrayServer, VpsServer

vps_commands = typer.Typer(no_args_is_help=True, help="Servers: how they are, what is done to them, strays.")

Server = Annotated[uuid.UUID, typer.Argument(metavar="ID", help="The server's id, as `vps list` shows it.")]
Reason = Annotated[str | None, typer.Option(help="For people to read.")]
_STRAY_FIELDS = ("provider", "name", "kind", "reason", "ipv4_address", "vps_id", "seen_at", "reap_at")
_POLL_SECONDS = 1.0
#: The worker looks for what is wanted every fifteen seconds.
_LOOK_SECONDS = 60.0


@vps_commands.command("list")
def list_servers(
    every: Annotated[bool, typer.Option("--all", help="Also those that are deleted.")] = False,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """List the servers of all tenants."""
    rows = [_row_fields(row) for row in asyncio.run(_list(instance, every=every))]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        print("There are no servers yet.")


@vps_commands.command()
def show(server: Server, as_json: Json = False, instance: Instance = "main") -> None:
    """Show a server and its runs, step by step, with times, the newest first."""
    standing = asyncio.run(_standing(instance, server))
    if as_json:
        fields = _row_fields(standing.row) | _ipv6_fields(standing.row)
        print_json(fields | {"runs": [asdict(run) for run in standing.runs]})
        return
    print_table([_row_fields(standing.row)])
    if standing.row.ipv6_address:
        print_table([_ipv6_fields(standing.row)])
    for run in standing.runs:
        print(f"\n{run.kind} {run.id}: {run.state}, asked for {run.created_at:%Y-%m-%d %H:%M:%S %Z}")
        if run.reason:
            print(f"  because: {run.reason}")
        if run.remedy:
            print(f"  what to do: {run.remedy}")
        if run.steps:
            print_table([_step_fields(asdict(step)) for step in run.steps])


@vps_commands.command()
def watch(server: Server, as_json: Json = False, instance: Instance = "main") -> None:
    """Follow a server's newest run until it is over or waits for a person; exits with 1 unless it is done.

    On a terminal the steps are drawn anew; otherwise each change is a line, with --json an object on a line.
    """
    if asyncio.run(watch_runs(instance, server, as_json=as_json)) != "done":
        sys.exit(FAILED)


@vps_commands.command()
def resume(server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Let a server's run go on that waits for a person: what it waits for is looked at again at once."""
    run = asyncio.run(_resume(instance, server, reason))
    if as_json:
        print_json({"resumed": run})
    else:
        say(f"the run {run} is looked at again")


@vps_commands.command()
def orphans(
    now: Annotated[bool, typer.Option("--now", help="Have the providers asked first.")] = False,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """List servers at the providers that nothing here needs, and rows whose server is gone there."""
    found, looked = asyncio.run(_orphans(instance, now=now))
    rows = [{name: getattr(each, name) for name in _STRAY_FIELDS} for each in found]
    if as_json:
        print_json({"items": rows, "looks": [_look_fields(look) for look in looked]})
        return
    if rows:
        print_table(rows)
    else:
        print("Nothing is astray.")
    for look in looked:
        fault = f"; it cannot be asked now: {look.fault}" if look.fault else ""
        print(f"{look.provider}: {'not asked yet' if look.looked_at is None else f'asked {look.looked_at}'}{fault}")


@vps_commands.command()
def reap(
    name: Annotated[str, typer.Argument(help="The orphan's name, as `vps orphans` shows it.")],
    provider: Annotated[str | None, typer.Option(help="Where it is, when two have that name.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Delete an orphan at its provider, after asking. What it holds is lost."""
    found, _ = asyncio.run(_orphans(instance, now=False))
    named = [
        each for each in found if each.name == name and each.kind == "orphan" and provider in {None, each.provider}
    ]
    if len(named) != 1:
        raise NotFound(f"there are {len(named)} orphans {name}; `vps orphans` lists them, --provider says which")
    orphan = named[0]
    if not yes:
        print_table([{field: getattr(orphan, field) for field in _STRAY_FIELDS}])
        typer.confirm(f"Delete {name} at {orphan.provider}, with all that is on it?", abort=True, err=True)
    asyncio.run(_reap(instance, orphan.provider, name, reason))
    if as_json:
        print_json({"reaped": name, "provider": orphan.provider})
    else:
        say(f"{name} is deleted within a minute; `vps orphans` shows it until it is gone")


async def _list(instance: str, *, every: bool) -> Sequence[VpsServer]:
    query = select(VpsServer).order_by(VpsServer.created_at)
    async with system_session(instance) as session:
        return (await session.scalars(query if every else query.where(VpsServer.status != "deleted"))).all()


async def _standing(instance: str, server: uuid.UUID) -> ServerStanding:
    async with system_session(instance) as session:
        return await servers.server_standing(session, server)


async def _resume(instance: str, server: uuid.UUID, reason: str | None) -> uuid.UUID:
    async with system_session(instance) as session:
        return (await servers.resume(session, this_user(), server, reason)).id


async def _reap(instance: str, provider: str, name: str, reason: str | None) -> None:
    async with system_session(instance) as session:
        await servers.reap(session, this_user(), provider, name, reason)


async def _orphans(instance: str, *, now: bool) -> tuple[Sequence[StrayServer], Sequence[ProviderLook]]:
    if now:
        await _look_now(instance)
    async with system_session(instance) as session:
        return await strays(session), await looks(session)


async def _look_now(instance: str) -> None:
    """Have the providers asked, and wait a while for all that have been asked before."""
    wanted = utc_now()
    async with system_session(instance) as session:
        await want_look(session)
    for _ in range(int(_LOOK_SECONDS / _POLL_SECONDS)):
        async with system_session(instance) as session:
            if all(look.looked_at and look.looked_at >= wanted for look in await looks(session)):
                return
        await asyncio.sleep(_POLL_SECONDS)
    say("not all providers were asked in time; what is shown may be old")


def _row_fields(row: VpsServer) -> dict[str, Any]:
    return {
        "id": row.id,
        "hostname": row.hostname,
        "provider": row.provider,
        "size": row.size,
        "region": row.region,
        "address": row.ip_address,
        "status": row.status,
        "reason": row.status_reason,
    }


def _ipv6_fields(row: VpsServer) -> dict[str, Any]:
    return {"ipv6_address": row.ipv6_address, "ipv6_sending_since": row.ipv6_sending_since}


def _step_fields(step: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:%H:%M:%S}" if isinstance(value, datetime) else value for name, value in step.items()}


def _look_fields(look: ProviderLook) -> dict[str, Any]:
    return {"provider": look.provider, "looked_at": look.looked_at, "fault": look.fault}
