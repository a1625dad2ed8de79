"""Runs a command that reports something and hands over its output line by line."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

#: Octets of the longest line that is kept.
LINE_LIMIT = 1024 * 1024


class CommandFailed(Exception):
    """The command is missing or ended with an error; the message holds its last words."""


@contextlib.asynccontextmanager
async def output_of(*arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Start the command and yield its standard output.

    Leaving the block early kills it. Raises `CommandFailed` when it cannot be started or its status is not 0.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_LIMIT,
        )
    except OSError as error:
        raise CommandFailed(f"{arguments[0]}: {error.strerror}") from error
    if process.stdout is None:
        raise CommandFailed(f"{arguments[0]}: no output")
    try:
        yield process.stdout
        status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if status != 0:
        raise CommandFailed(f"{arguments[0]}: status {status}")


async def lines_of(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the output's lines. One over `LINE_LIMIT` is dropped, but for a piece of its end, which says nothing."""
    while True:
        try:
            line = await output.readline()
        except ValueError:
            continue
        if not line:
            return
        yield line
