"""The daemon's side of `rpc.py`: a Unix socket for root, any number of callers, requests one after the other on each.

A line that is no request, or one with wrong arguments, is refused with the reason; only that caller notices. A request
that has been read is finished, also when its caller hangs up or the daemon is told to stop.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from control_plane.providers.base import ProviderError
from control_plane.providers.local.rpc import LINE_LIMIT, answer, refusal

Method = Callable[..., Awaitable[object]]


async def reply_to(line: bytes, methods: Mapping[str, Method]) -> bytes:
    """Return the answer to one line; whatever is wrong with the line is in the answer."""
    try:
        request = json.loads(line)
        method, params = methods[request["method"]], dict(request["params"])
    except (ValueError, TypeError, KeyError):
        return refusal(ProviderError(f"not a request; methods: {', '.join(methods)}"))
    try:
        return answer(await method(**params))
    except ValidationError as error:
        # without the values: user-data holds secrets
        reasons = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)]
        return refusal(ProviderError(f"wrong arguments for {request['method']}: {'; '.join(reasons)}"))
    except ProviderError as error:
        return refusal(error)


@contextlib.asynccontextmanager
async def open_door(socket_path: Path, methods: Mapping[str, Method]) -> AsyncIterator[None]:
    """Answer callers for as long as the context lasts; at its end wait for the requests in hand."""
    callers = _Callers(methods)
    # made under another name: whoever sees the socket may already connect
    unpublished = socket_path.with_name(f"{socket_path.name}.new")
    server = await asyncio.start_unix_server(callers.accept, str(unpublished), limit=LINE_LIMIT)
    with _published(unpublished, socket_path):
        yield
    server.close()
    await callers.finish()


@contextlib.contextmanager
def _published(unpublished: Path, socket_path: Path) -> Iterator[None]:
    unpublished.chmod(0o600)
    unpublished.rename(socket_path)
    try:
        yield
    finally:
        socket_path.unlink(missing_ok=True)


class _Callers:
    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._listening: set[asyncio.Task[None]] = set()
        self._in_hand: set[asyncio.Task[bytes]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)

    async def finish(self) -> None:
        await asyncio.gather(*self._in_hand, return_exceptions=True)
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # ValueError: a line over the limit
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                writer.write(await self._reply(line))
                await writer.drain()

    async def _reply(self, line: bytes) -> bytes:
        request = asyncio.create_task(reply_to(line, self._methods))
        self._in_hand.add(request)
        request.add_done_callback(self._in_hand.discard)
        return await asyncio.shield(request)
