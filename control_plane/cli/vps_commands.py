"""`vps command`: ask a server to do something now, and wait for what comes of it."""

import asyncio
import sys
import uuid
from dataclasses import asdict
from typing import Annotated

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import FAILED, Instance, Json, print_json
from control_plane.clock import utc_now
from control_plane.fleet.commands import CommandState
from control_plane.operators import server_commands
from control_plane.operators.server_commands import Asked, CommandKind, Wanted

_POLL_SECONDS = 0.3


def command(
    server: Annotated[uuid.UUID, typer.Argument(metavar="ID", help="The server's id.")],
    kind: Annotated[CommandKind, typer.Argument(help="What it is to do; mail is restored by `backup mailboxes`.")],
    *,
    queue_id: Annotated[str | None, typer.Option(help="For hold, release and delete: the message in Postfix.")] = None,
    lines: Annotated[int | None, typer.Option(help="For tail: how many.")] = None,
    domain: Annotated[str | None, typer.Option(help="For rotate-key: whose DKIM key.")] = None,
    reason: Annotated[str | None, typer.Option(help="For people to read; kept with the act.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Ask a server to do something now, at most once, and say what came of it; exit with 1 when it was not done."""
    asked = asyncio.run(ask_server(instance, server, Wanted(kind, queue_id, lines, domain), reason))
    if asked.command_id is None:
        line, shown = f"begun; `penguin domain show` tells how far: run {asked.run_id}", asdict(asked)
    else:
        state = asyncio.run(await_outcome(instance, server, asked.command_id))
        line = "\n".join(filter(None, (state.output, f"{state.state}: {state.detail or 'no answer yet'}")))
        shown = asdict(state)
    if as_json:
        print_json(shown)
    else:
        print(line)
    if asked.command_id is not None and shown["state"] != "done":
        sys.exit(FAILED)


async def ask_server(instance: str, server: uuid.UUID, wanted: Wanted, reason: str | None = None) -> Asked:
    """Ask; see `server_commands.ask`."""
    async with system_session(instance) as session:
        return await server_commands.ask(session, this_user(), server, wanted, now=utc_now(), reason=reason)


async def await_outcome(instance: str, server: uuid.UUID, command_id: uuid.UUID) -> CommandState:
    """Return what came of a command; it ends by its deadline at the latest."""
    while True:
        async with system_session(instance) as session:
            state = await server_commands.outcome(session, server, command_id)
        if state.is_over:
            return state
        await asyncio.sleep(_POLL_SECONDS)
