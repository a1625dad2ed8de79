"""Streams that do nothing: what one costs a server is the least that a connected agent can cost.

`python -m tests.simulation.idle serve ENDPOINT FOLDER` is a bare server over mutual TLS with the hub's own options;
`python -m tests.simulation.idle hold FOLDER FIRST COUNT` opens streams to it and takes orders as agents do.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio

from agent.identity.store import Enrolment, IdentityStore
from agent.identity.tls import open_channel
from control_plane.hub.server import OPTIONS
from control_plane.processes.readiness import say_ready
from tests.simulation.fleet import agent_settings
from tests.simulation.orders import Answers, serve_orders

_METHOD = "/penguinmails.simulation.Idle/Hold"
#: After which a stream that broke is opened again.
_AGAIN_SECONDS = 1.0


async def _hold(requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


class _Idle(grpc.GenericRpcHandler):
    def service(self, _details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.stream_stream_rpc_method_handler(_hold)


async def _serve(endpoint: str, folder: Path) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_Idle(),))
    pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], (folder / "ca.pem").read_bytes(), require_client_auth=True)
    server.add_secure_port(endpoint, credentials)
    await server.start()
    say_ready()
    await server.wait_for_termination()


class IdleCrowd(Answers):
    """Opens streams, says one thing on each, hears it back, and says no more."""

    def __init__(self, endpoint: str, folder: Path, numbers: range) -> None:
        self._endpoint = endpoint
        self._folder = folder
        self._numbers = numbers
        self._tasks: list[asyncio.Task[None]] = []
        self._connected = 0

    def connect(self, over: float) -> dict[str, object]:
        for place, number in enumerate(self._numbers):
            store = IdentityStore(agent_settings(self._folder, number).identity_dir)
            pause = over * place / len(self._numbers)
            self._tasks.append(asyncio.create_task(self._stay(store.load(), store.key_file.read_bytes(), pause)))
        return {}

    def report(self, over: float) -> dict[str, object]:
        return {}

    def tell(self) -> dict[str, object]:
        ended = sum(task.done() for task in self._tasks)
        return {
            "connected": self._connected,
            "sent": 0,
            "configured": 0,
            "attempts": [],
            "welcomes": [],
            "ended": ended,
        }

    async def _stay(self, enrolment: Enrolment, key: bytes, pause: float) -> None:
        """Hold a stream, after so many seconds, and another whenever it breaks, as agents do."""
        while True:
            await asyncio.sleep(pause)
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self._hold(enrolment, key)
            pause = _AGAIN_SECONDS

    async def _hold(self, enrolment: Enrolment, key: bytes) -> None:
        async with open_channel(self._endpoint, enrolment.ca_pem, key, enrolment.certificate_pem) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(_METHOD)()
            await call.write(b"hello")
            await call.read()
            self._connected += 1
            try:
                await call.read()
            finally:
                self._connected -= 1


async def _hold_streams(endpoint: str, folder: Path, numbers: range) -> None:
    await serve_orders(IdleCrowd(endpoint, folder, numbers))
    os._exit(0)


def main() -> None:
    role, endpoint, folder, *numbers = sys.argv[1:]
    if role == "serve":
        asyncio.run(_serve(endpoint, Path(folder)))
    else:
        first, count = map(int, numbers)
        asyncio.run(_hold_streams(endpoint, Path(folder), range(first, first + count)))


if __name__ == "__main__":
    main()
