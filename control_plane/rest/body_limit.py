"""Refuse a request body that is too large while it comes in, before it is kept.

Starlette's own limit is not used: when Content-Length already says too much, it answers in plain text and the problem
that the application rendered is lost.
"""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Octets. A message of 10 MB needs more than that as JSON: each line end takes two octets, each quotation mark too.
MAX_BODY = 15_000_000


class LimitsBodies:
    """Middleware: reading more than `limit` octets of a body raises 413 where it is read."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            if declared.isdigit() and int(declared) > self._limit:
                raise self._too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._too_large()
            return message

        await self._app(scope, receive_within_limit, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The request's body is longer than {self._limit} octets.",
            # The rest of the body is still on its way: nothing else can come over this connection.
            {"Connection": "close"},
        )
