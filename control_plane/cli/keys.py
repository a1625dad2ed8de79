"""`keys`: change the keys that the installation signs with."""

import asyncio
import uuid

import typer

from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.clock import utc_now
from control_plane.people.signing_keys import LEAD, rotate
from control_plane.processes.places import state_dir
from control_plane.sealing import Sealer, load_or_create_key

signing_commands = typer.Typer(no_args_is_help=True, help="Keys that the installation itself works with.")


@signing_commands.command("rotate-signing")
def rotate_signing(as_json: Json = False, instance: Instance = "main") -> None:
    """Have access tokens signed by a new key, soon; those that are signed already stay good until they expire."""
    made = asyncio.run(_rotate(instance))
    if as_json:
        print_json({"signing_key": made})
    else:
        print(made)
        say(f"it signs from {int(LEAD.total_seconds())} seconds from now on, when all processes know it")


async def _rotate(instance: str) -> uuid.UUID:
    sealer = Sealer(load_or_create_key(state_dir(instance) / "sealing.key"))
    async with system_session(instance) as session:
        return (await rotate(session, sealer, utc_now())).id
