"""`keys`: the keys that secrets are sealed with, and those that the installation signs with."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.clock import utc_now
from control_plane.data_keys.rotation import Progress, master_headers_in_use, progress_of, request_rotation
from control_plane.operators.acts import Act, record
from control_plane.people.signing_keys import LEAD, rotate
from control_plane.processes.places import state_dir
from control_plane.sealing import Sealer, add_master_key, keep_master_keys

signing_commands = typer.Typer(no_args_is_help=True, help="Keys that the installation itself works with.")

KeyFile = Annotated[Path | None, typer.Option(help="Where the master keys lie, when not in the installation's folder.")]


@signing_commands.command("list")
def list_keys(key_file: KeyFile = None, as_json: Json = False, instance: Instance = "main") -> None:
    """List the master keys, oldest first: the newest wraps tenants' keys; one that is not in use may go."""
    rows = asyncio.run(_list(instance, _sealer(instance, key_file)))
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


@signing_commands.command("rotate")
def rotate_keys(
    *,
    status: Annotated[bool, typer.Option(help="Change nothing; show how far the last change has come.")] = False,
    key_file: KeyFile = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Put a new master key into use, and have every key and every secret in the database sealed anew, while in use."""
    if not status:
        asyncio.run(_ask(instance, key_file))
    progress = asyncio.run(_progress(instance))
    if as_json:
        print_json(asdict(progress))
    else:
        print_table([_fields(progress)])
        say("the worker seals the rest anew" if sum(progress.left.values()) else "all is sealed by keys in force")


@signing_commands.command("retire")
def retire_keys(key_file: KeyFile = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Destroy the master keys that nothing in the database needs any more. Old backups need them."""
    gone = asyncio.run(_retire(instance, key_file))
    if as_json:
        print_json({"retired": gone})
    else:
        print("\n".join(gone) or "Every master key is in use.")


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
    async with system_session(instance) as session:
        made = (await rotate(session, _sealer(instance, None), utc_now())).id
        await record(session, this_user(), Act.ROTATE_SIGNING_KEY, {"signing_key": made})
        return made


async def _ask(instance: str, key_file: Path | None) -> None:
    sealer = _sealer(instance, key_file)
    async with system_session(instance) as session:
        add_master_key(_file(instance, key_file))
        sealer.read_again()
        rotation_id = await request_rotation(session, sealer)
        await record(session, this_user(), Act.ROTATE_KEYS, {"rotation_id": rotation_id})


async def _retire(instance: str, key_file: Path | None) -> list[str]:
    sealer = _sealer(instance, key_file)
    async with system_session(instance) as session:
        used = await master_headers_in_use(session)
        gone = [header.hex() for header in sealer.headers[:-1] if header not in used]
        if gone:
            await record(session, this_user(), Act.RETIRE_KEYS, {"keys": gone})
        keep_master_keys(_file(instance, key_file), [header for header in sealer.headers if header in used])
    return gone


async def _progress(instance: str) -> Progress:
    async with system_session(instance) as session:
        return await progress_of(session)


async def _used(instance: str) -> set[bytes]:
    async with system_session(instance) as session:
        return await master_headers_in_use(session)


async def _list(instance: str, sealer: Sealer) -> Sequence[dict[str, Any]]:
    used = await _used(instance)
    newest = sealer.headers[-1]
    return [{"key": each.hex(), "wraps": each == newest, "in_use": each in used} for each in sealer.headers]


def _file(instance: str, key_file: Path | None) -> Path:
    return key_file or state_dir(instance) / "sealing.key"


def _sealer(instance: str, key_file: Path | None) -> Sealer:
    return Sealer.of_file(_file(instance, key_file))


def _fields(progress: Progress) -> dict[str, Any]:
    return {**asdict(progress), "left": sum(progress.left.values())}
