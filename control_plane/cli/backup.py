"""`backup`: copies of the control plane's database, their tests, and what follows a restore."""

import asyncio
import datetime as dt
import fcntl
import getpass
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from control_plane.backups import key_file
from control_plane.backups.after_restore import release as release_held
from control_plane.backups.restore import restore as restore_database
from control_plane.backups.results import Kind, keep_result, newest_results, what_is_wrong
from control_plane.backups.schedule import Outcome, outcome_of, saved, tested
from control_plane.backups.vault import Vault
from control_plane.cli.actor import this_user
from control_plane.cli.installation import NoInstallation, private_owner_url, system_session
from control_plane.cli.mailbox_backups import mailbox_commands
from control_plane.cli.output import FAILED, Instance, Json, print_json, say, tell_outcome
from control_plane.cli.tables import print_table
from control_plane.clock import utc_now
from control_plane.embedded.installation_record import read_record
from control_plane.errors import Conflict, InvalidInput
from control_plane.operators.acts import Act, record
from control_plane.processes.places import state_dir

backup_commands = typer.Typer(no_args_is_help=True, help="Backups of the control plane's database, and of mailboxes.")
backup_commands.add_typer(mailbox_commands, name="mailboxes")

#: For what the backups process is doing.
_PATIENCE_SECONDS = 60.0
_PASSPHRASE = "PENGUIN_BACKUP_PASSPHRASE"  # noqa: S105 - the variable's name


@backup_commands.command()
def run(
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Save a whole copy of the running installation's database; of old ones 7 days', 4 weeks' and 6 months' stay."""
    vault, url = _vault(instance), _owner_url(instance)
    _do(instance, Kind.COPY, lambda: saved(vault, url), as_json=as_json)


@backup_commands.command()
def status(as_json: Json = False, instance: Instance = "main") -> None:
    """Show what came of the newest backup and restore test; exit with 1 when they cannot be relied upon."""
    rows, wrong = asyncio.run(_status(instance))
    if as_json:
        print_json({"newest": rows, "wrong": wrong})
    else:
        print_table(rows) if rows else print("Nothing was backed up yet.")
        say(wrong or ("all is well" if rows else "`penguin backup run` does it now"))
    if wrong:
        sys.exit(FAILED)


@backup_commands.command("list")
def list_backups(as_json: Json = False, instance: Instance = "main") -> None:
    """List what the repository has: whole copies (base), and the log since (wal)."""
    rows = [{"id": each.id, "at": each.at, "what": each.tag} for each in _vault(instance).repository.snapshots()]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        print("There are no backups.")


@backup_commands.command()
def verify(as_json: Json = False, instance: Instance = "main") -> None:
    """Read the whole repository and check every hash in it."""
    _vault(instance).repository.verify()
    tell_outcome(ok=True, sentence="every part of the repository is what its hash says", as_json=as_json)


@backup_commands.command("test")
def try_restore(as_json: Json = False, instance: Instance = "main") -> None:
    """Restore the newest copy beside everything, start it, and compare it with what it recorded of itself."""
    vault = _vault(instance)
    _do(instance, Kind.RESTORE_TEST, lambda: tested(vault), as_json=as_json)


@backup_commands.command()
def restore(
    snapshot: Annotated[str, typer.Argument(help="Id of a whole copy; the newest when left out.")] = "",
    to_time: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Only up to this moment, such as 2030-01-31T12:00:00+0000."),
    ] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Put the database back, of an installation that does not run; what it replaces is put aside."""
    state = state_dir(instance)
    (state / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "run" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("the installation runs; end it with `penguin down` before") from None
        restored = restore_database(_vault(instance), state / "postgres", snapshot, to_time)
    if as_json:
        print_json(asdict(restored))
        return
    say(f"restored {restored.snapshot} up to {restored.moment}")
    if restored.is_whole:
        say("everything that was committed is there; start the installation and it goes on")
    else:
        say(f"what came later is forgotten. {restored.held} sends are not over; nothing is sent before you say")
        say(
            "`penguin backup release`: name with --forgetful each server that was rebuilt or left by inboxes since then"
        )


@backup_commands.command()
def release(
    forgetful: Annotated[
        list[uuid.UUID] | None,
        typer.Option("--forgetful", help="A server that was rebuilt, or that inboxes moved away from, since then."),
    ] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Let go of what a restore holds: servers are asked for what became of it. For forgetful ones it is uncertain."""
    ended = asyncio.run(_release(instance, forgetful or []))
    if as_json:
        print_json({"uncertain": ended})
    else:
        say(f"sending goes on; {ended} sends ended as uncertain")


@backup_commands.command()
def keys(
    to: Annotated[Path | None, typer.Option(help="Write them to this new file.")] = None,
    back_from: Annotated[Path | None, typer.Option("--from", help="Put back from this file what is missing.")] = None,
    instance: Instance = "main",
) -> None:
    """Save the master keys and the backups' password, which are in no backup, under a passphrase; or put them back."""
    files = {"sealing.key": state_dir(instance) / "sealing.key", "backup.password": _vault(instance).password_file}
    if (to is None) == (back_from is None):
        raise InvalidInput("say either --to or --from")
    passphrase = os.environ.get(_PASSPHRASE) or getpass.getpass("Passphrase: ")
    if to:
        key_file.write_keys(to, files, passphrase)
        say(f"{to} opens with the passphrase alone; keep it away from the backups")
    elif back_from:
        say("put back: " + (", ".join(key_file.put_back(back_from, files, passphrase)) or "nothing was missing"))


def _vault(instance: str) -> Vault:
    return Vault(state_dir(instance), os.environ.get("PENGUIN_BACKUP_REPOSITORY", ""), _PATIENCE_SECONDS)


def _owner_url(instance: str) -> str:
    """Return the owner's URL of the private database; raise `NoInstallation` or `InvalidInput`."""
    if read_record(state_dir(instance)) is None:
        raise NoInstallation("no installation runs here: start it with `./penguin up`")
    if url := private_owner_url(instance):
        return url
    raise InvalidInput("a database of PENGUIN_DATABASE_URL is backed up by whoever runs it")


async def _keep(instance: str, kind: Kind, began: dt.datetime, outcome: Outcome) -> None:
    async with system_session(instance) as session:
        await keep_result(session, kind, began, ok=outcome.ok, sentence=outcome.sentence)


async def _status(instance: str) -> tuple[list[dict[str, object]], str]:
    async with system_session(instance) as session:
        newest = await newest_results(session)
    return [{"what": kind.value, **asdict(each)} for kind, each in newest.items()], what_is_wrong(newest, utc_now())


async def _release(instance: str, forgetful: list[uuid.UUID]) -> int:
    async with system_session(instance) as session:
        was_held, ended = await release_held(session, forgetful)
        if not was_held:
            raise Conflict("no restore holds anything")
        await record(session, this_user(), Act.RELEASE_RESTORED, {"forgetful": list(map(str, forgetful))})
        return ended


def _do(instance: str, kind: Kind, act: Callable[[], Outcome], *, as_json: bool) -> None:
    """Do it, write down what came of it, and tell."""
    began = utc_now()
    outcome = outcome_of(act)
    asyncio.run(_keep(instance, kind, began, outcome))
    tell_outcome(ok=outcome.ok, sentence=outcome.sentence, as_json=as_json)
