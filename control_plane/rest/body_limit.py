"""Refuse a request body that is too large or too slow while it comes in, before it is kept.

Starlette's own limit is not used: when Content-Length already says too much, it answers in plain text and the problem
that the application rendered is lost. A body that ends before its Content-Length says is never complete: its sender
goes away (400, which nobody reads) or is slow (408). What comes after a body is the server's to refuse, as no HTTP.
"""

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Octets. A message of 10 MB needs more than that as JSON: each line end takes two octets, each quotation mark too.
MAX_BODY = 15_000_000
#: Seconds from when the body is waited for to its end: 15 MB in that time are 2 Mbit/s.
BODY_SECONDS = 60.0
#: Seconds between two parts of it.
PAUSE_SECONDS = 10.0

# The rest of the body is still on its way: nothing else can come over this connection.
_CLOSE = {"Connection": "close"}


class LimitsBodies:
    """Middleware: a body longer than `limit` octets raises 413 where it is read, and one that does not come in 408."""

    def __init__(
        self, app: ASGIApp, limit: int = MAX_BODY, seconds: float = BODY_SECONDS, pause: float = PAUSE_SECONDS
    ) -> None:
        self._app = app
        self._limit = limit
        self._seconds = seconds
        self._pause = pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        received = 0
        ends_at: float | None = None

        async def receive_within_limit() -> Message:
            nonlocal received, ends_at
            if declared.isdigit() and int(declared) > self._limit:
                raise self._too_large()
            if ends_at == 0:
                # The body is whole: what is waited for now is that the caller goes away.
                return await receive()
            now = asyncio.get_running_loop().time()
            ends_at = ends_at or now + self._seconds
            try:
                async with asyncio.timeout_at(min(ends_at, now + self._pause)):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow() from None
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._too_large()
            if not message.get("more_body", False):
                ends_at = 0
            return message

        await self._app(scope, receive_within_limit, send)

    def _too_large(self) -> HTTPException:
        told = f"The request's body is longer than {self._limit} octets."
        return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, told, _CLOSE)

    def _too_slow(self) -> HTTPException:
        told = (
            f"The request's body must come in {self._seconds:g} seconds, and no {self._pause:g} without a part of it."
        )
        return HTTPException(HTTPStatus.REQUEST_TIMEOUT, told, _CLOSE)
