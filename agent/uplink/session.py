"""One stream's life: Hello, Welcome, then both sides talk until it ends or the certificate was renewed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from agent.uplink.deflating import deflated
from agent.uplink.outbound import Outbound
from protos.agent.v1.link_pb2 import AgentMessage, Hello, HubMessage, Welcome
from protos.agent.v1.link_pb2_grpc import LinkStub

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[AgentMessage, HubMessage]

#: Seconds the hub has to answer Hello.
WELCOME_TIMEOUT = 30.0


class LinkEnded(Exception):
    """The stream is over; `code` is the hub's reason, or gRPC's own."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code


class Session:
    """Talks to the hub over a channel of its own.

    `welcomed` and `received` take what the hub says; `beside` are tasks for as long as the stream is up, and when one
    of them returns the session ends without a fault.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        outbound: Outbound,
        *,
        welcomed: Callable[[Welcome], None],
        received: Callable[[HubMessage], Awaitable[None]],
        beside: tuple[Callable[[], Coroutine[None, None, None]], ...],
    ) -> None:
        self._channel = channel
        self._outbound = outbound
        self._welcomed = welcomed
        self._received = received
        self._beside = beside
        self._most_inflated = 0

    async def run(self, hello: Callable[[], Hello]) -> None:
        """Talk. Raises `LinkEnded` when the stream ends; `hello` is called when the connection stands."""
        call = LinkStub(self._channel).Connect()
        try:
            await self._greet(call, hello)
            await _until_first_ends(self._read(call), self._write(call), *(task() for task in self._beside))
        except grpc.aio.AioRpcError as error:
            raise LinkEnded(error.code(), error.details()) from error
        except asyncio.InvalidStateError as error:
            # A write met a stream that had ended; the stream knows why.
            raise LinkEnded(await call.code(), await call.details()) from error
        finally:
            call.cancel()

    async def _greet(self, call: "Call", hello: Callable[[], Hello]) -> None:
        await call.wait_for_connection()
        await call.write(AgentMessage(hello=hello()))
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT):
                answer = await _next_message(call)
        except TimeoutError as error:
            raise LinkEnded(grpc.StatusCode.DEADLINE_EXCEEDED, "no Welcome") from error
        if answer.WhichOneof("body") != "welcome":
            raise LinkEnded(grpc.StatusCode.INTERNAL, "the hub did not begin with Welcome")
        self._most_inflated = answer.welcome.most_inflated_bytes
        self._welcomed(answer.welcome)

    async def _read(self, call: "Call") -> None:
        while True:
            await self._received(await _next_message(call))

    async def _write(self, call: "Call") -> None:
        while True:
            await call.write(deflated(await self._outbound.take(), self._most_inflated))


async def _next_message(call: "Call") -> HubMessage:
    message = await call.read()
    if isinstance(message, HubMessage):
        return message
    raise LinkEnded(await call.code(), await call.details() or "the hub ended the stream")


async def _until_first_ends(*coroutines: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
