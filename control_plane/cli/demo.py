"""`penguin demo`: two tenants, two real servers, twenty messages, and what became of them.

Everything goes through the doors that a user has: the tenants are made as the command line makes them, and the rest by
REST. The receiving mailbox is read over IMAPS from inside the local world (mailbox_watch.py). The demo's installation
is its own, beside the one of `penguin up`, and starts empty each time.
"""

import asyncio
import shutil
from dataclasses import asdict

from control_plane.cli.demo_story import DemoFailed, DemoReport, tell_story
from control_plane.cli.output import FAILED, print_json, say
from control_plane.cli.progress import terminal_progress
from control_plane.embedded.installation_record import read_process
from control_plane.errors import Conflict
from control_plane.processes.all import Installation
from control_plane.processes.interruptible import run_interruptible
from control_plane.processes.places import state_dir
from control_plane.processes.progress import Progress
from control_plane.providers.local.network import NAMESERVER
from control_plane.providers.local.world import World

INSTANCE = "demo"


def run_demo(*, once: bool, json: bool) -> int:
    """Run the demo and return the exit code: 0 when every check passed, 130 when it was interrupted."""
    state = state_dir(INSTANCE)
    if read_process(state):
        raise Conflict("the demo runs already; Ctrl-C there, or `penguin down`, ends it")
    # Disks of servers that a killed demo left may still be mounted below.
    World(state).destroy()
    shutil.rmtree(state, ignore_errors=True)
    try:
        with terminal_progress() as progress:
            return run_interruptible(_demo(once=once, progress=progress, json=json))
    except DemoFailed as failure:
        say(f"the demo failed: {failure}")
        return FAILED


async def _demo(*, once: bool, progress: Progress, json: bool) -> None:
    async with Installation(INSTANCE, 0, progress) as installation:
        report = await tell_story(installation.record, str(NAMESERVER), progress)
        if json:
            print_json(asdict(report))
        else:
            _tell(report, progress)
        if not once:
            progress.step(f"still running, with the API at {installation.record.rest_url}; Ctrl-C takes it down")
            await asyncio.Event().wait()


def _tell(report: DemoReport, progress: Progress) -> None:
    for entry in report.message["timeline"]:
        progress.step(f"  {entry['at']}  {entry['kind']}  {entry['detail'].get('text', '')}")
    verdicts = ", ".join(f"{method}={report.received[method]}" for method in ("dkim", "spf", "dmarc"))
    progress.step(f"the receiving server saw {verdicts}; the signature was verified once more by another library")
