"""`node join-command`: one line to run, as root, on a server of one's own, which makes it a mail server here."""

import asyncio
import ipaddress
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.errors import InvalidInput, Unavailable
from control_plane.operators.acts import Act, record
from control_plane.processes.places import HOME, state_dir
from control_plane.provisioning.join_program import render_join_command
from control_plane.provisioning.joining import Release, read_release
from control_plane.provisioning.own_servers import OwnServer, invite
from control_plane.sealing import Sealer
from control_plane.settings import Settings

node_commands = typer.Typer(no_args_is_help=True, help="Servers of your own: Debian 12 or 13, or Ubuntu 24.04.")


@node_commands.callback()
def node() -> None:
    """Keep `join-command` a command of its own name, although it is the only one."""


@node_commands.command("join-command")
def join_command(  # noqa: PLR0917 - each is an option, given by its name
    hostname: Annotated[
        str | None, typer.Option(help="The server's name below the platform's domain; one is made up when left out.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Its IPv4 address; the one that it joins from when left out.")
    ] = None,
    ipv6_address: Annotated[
        str | None,
        typer.Option("--ipv6", help="Its IPv6 address, if it has one; mail goes out by it once its PTR is set."),
    ] = None,
    tenant: Annotated[uuid.UUID | None, typer.Option(help="Whose it is, where there are several tenants.")] = None,
    workspace: Annotated[uuid.UUID | None, typer.Option(help="In which of the tenant's workspaces.")] = None,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="How long the command is good for.")] = 60,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Print what makes a server of yours join. Run it there as root; it works once.

    Asked for again with the same --hostname, before the server has joined, it makes the earlier command void.
    """
    wish = OwnServer(hostname, _checked(address, 4), _checked(ipv6_address, 6), tenant, workspace)
    made = asyncio.run(_invite(instance, wish, timedelta(minutes=minutes)))
    if as_json:
        print_json(made)
        return
    print(made["command"])
    say(f"run this as root on the server that becomes {made['hostname']}; it works once, until {made['expires_at']}")


async def _invite(instance: str, wish: OwnServer, life: timedelta) -> dict[str, Any]:
    state = state_dir(instance)
    settings = Settings(state_dir=state, wheelhouse_dir=HOME / "wheelhouse")
    async with system_session(instance) as session:
        release = await _release(settings)
        sealer = Sealer.of_file(settings.sealing_key_file)
        made = await invite(session, settings, sealer, release, wish, token_life=life)
        subject = {"tenant_id": made.tenant_id, "vps_id": made.vps_id}
        await record(session, this_user(), Act.INVITE_SERVER, subject)
    return {
        "vps_id": str(made.vps_id),
        "hostname": made.join.hostname,
        "expires_at": (datetime.now(UTC) + life).isoformat(timespec="seconds"),
        "command": render_join_command(made.join),
    }


async def _release(settings: Settings) -> Release:
    try:
        return await read_release(settings.wheelhouse_dir)
    except OSError as error:
        raise Unavailable(f"there is no release for servers yet ({error}); `./penguin up` makes it") from None


def _checked(address: str | None, version: int) -> str | None:
    if address is None:
        return None
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        found = None
    if found is None or found.version != version or "%" in address:
        raise InvalidInput(f"not an IPv{version} address: {address!r}")
    return str(found)
