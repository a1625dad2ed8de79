"""`release`: releases of the agent that servers can be upgraded to."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.enrolment.authority import Authority
from control_plane.operators.upgrades import add_release
from control_plane.processes.places import HOME, state_dir
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from control_plane.upgrades.releases import list_releases, store_release

release_commands = typer.Typer(no_args_is_help=True, help="Releases of the agent that servers can be upgraded to.")

_SHOWN = ("name", "version", "state", "created_at")


@release_commands.command("add")
def add(
    wheelhouse: Annotated[Path | None, typer.Option("--from", help="The wheelhouse; the installation's own.")] = None,
    into: Annotated[Path | None, typer.Option(help="Where the downloads door serves releases from.")] = None,
    sealing_key: Annotated[
        Path | None, typer.Option(help="A deployment's sealing key; the installation's own.")
    ] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Sign what a wheelhouse holds and offer it; nothing is upgraded by that."""
    settings = Settings(state_dir=state_dir(instance), wheelhouse_dir=HOME / "wheelhouse")
    stored = store_release(wheelhouse or settings.wheelhouse_dir, into or settings.releases_dir)

    async def sign() -> str:
        sealer = Sealer.of_file(sealing_key or settings.sealing_key_file)
        async with system_session(instance) as session:
            authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
            return await add_release(session, this_user(), authority, stored)

    name = asyncio.run(sign())
    if as_json:
        print_json({"name": name, "version": stored.version})
    else:
        say(f"release {name} is signed; `penguin fleet upgrade --plan {name}` plans an upgrade to it")


@release_commands.command("list")
def show(*, as_json: Json = False, instance: Instance = "main") -> None:
    """List releases, newest first."""
    releases = asyncio.run(_load(instance))
    if as_json:
        print_json(releases)
    elif releases:
        print_table(releases)
    else:
        print("There are no releases yet; `penguin release add` makes one.")


async def _load(instance: str) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return [{name: getattr(each, name) for name in _SHOWN} for each in await list_releases(session)]
