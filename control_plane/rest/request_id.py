"""A name for each request: made here, sent back as X-Request-Id, and written beside every line of the log about it."""

import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from log_lines.lines import about

REQUEST_ID = "X-Request-Id"
_STATE_KEY = "penguin.request_id"


class NamesRequests:
    """Middleware: names the request and puts the name on the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = scope[_STATE_KEY] = uuid.uuid4().hex

        async def send_with_name(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = name
            await send(message)

        with about(request_id=name):
            await self._app(scope, receive, send_with_name)


def request_id_of(scope: Scope) -> str:
    """Return the request's name."""
    name: str = scope[_STATE_KEY]
    return name
