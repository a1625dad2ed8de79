"""`up` and `down`: run an installation, end one."""

import asyncio
import os
import select
import shutil
import signal
import sys
from typing import Annotated

import typer

from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.progress import terminal_progress
from control_plane.embedded.installation_record import ProcessMark, read_process, remove_records
from control_plane.errors import Forbidden, Unavailable
from control_plane.processes.all import DEFAULT_OPERATOR_PORT, DEFAULT_REST_PORT, Installation
from control_plane.processes.interruptible import run_interruptible
from control_plane.processes.places import HOME, Places, instances, state_dir
from control_plane.processes.progress import Progress
from control_plane.providers.local.world import World

#: Stopping in order takes seconds; a server's shutdown is not waited for.
_STOP_SECONDS = 90.0


def up(
    port: Annotated[
        int, typer.Option(help="Port of the REST API on 127.0.0.1; 0 for any free one.")
    ] = DEFAULT_REST_PORT,
    operator_port: Annotated[
        int | None,
        typer.Option(
            help=f"Port of the operators' REST API on 127.0.0.1; {DEFAULT_OPERATOR_PORT} when left out, or any free one"
            " when --port is 0."
        ),
    ] = None,
    instance: Instance = "main",
) -> None:
    """Run the control plane until Ctrl-C: PostgreSQL, Redis, both APIs, hub, queuer, worker and the local cloud."""
    if operator_port is None:
        operator_port = DEFAULT_OPERATOR_PORT if port else 0
    with terminal_progress() as progress:
        status = run_interruptible(_up(instance, port, operator_port, progress))
    sys.exit(status)


def down(
    instance: Annotated[
        str | None, typer.Option(help="Only this installation; all of the checkout without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """End what runs in this checkout, and sweep up what a crash left: namespaces, mounts, routes, processes."""
    if os.geteuid() != 0:
        raise Forbidden("`down` needs root, to remove network namespaces and mounts")
    ended = [name for name in ([instance] if instance else instances()) if _take_down(name)]
    if as_json:
        print_json({"ended": ended})
    else:
        say(f"ended: {', '.join(ended)}" if ended else "nothing was running; nothing is left behind")


async def _up(instance: str, port: int, operator_port: int, progress: Progress) -> None:
    async with Installation(instance, port, progress, operator_port=operator_port) as installation:
        progress.step(f"OpenAPI at {installation.record.rest_url}/docs; Ctrl-C stops everything")
        await asyncio.Event().wait()


def _take_down(instance: str) -> bool:
    """End the instance, if it runs, and remove every trace of it but its data; return whether it ran."""
    state = state_dir(instance)
    process = read_process(state)
    if process:
        _end(process, instance)
    world = World(state)
    world.destroy()
    runtime = Places(state, world.id, wheelhouse=HOME / "wheelhouse", images=HOME / "images").runtime
    if runtime.exists():
        shutil.rmtree(runtime)
    remove_records(state)
    return process is not None


def _end(process: ProcessMark, instance: str) -> None:
    """Ask the installation to stop and wait until it has; raise `Unavailable` when it does not."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if not process.alive():
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        # A process's descriptor is readable when it has ended (pidfd_open(2)).
        if not select.select([handle], [], [], _STOP_SECONDS)[0]:
            raise Unavailable(f"{instance} (process {process.pid}) does not stop; end it, then run `down` again")
    finally:
        os.close(handle)
