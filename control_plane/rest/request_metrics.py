"""Counts and times requests by the template of their route and the class of their status.

What the counters are of is kept here by route, so that counting costs a request two increments and a look into a small
table. What no route was for is counted as one, or whoever tries addresses would make series.
"""

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.telemetry.instruments import REQUEST_SECONDS, REQUESTS

_NO_ROUTE = "none"
#: Methods that HTTP names; any other word is the client's own.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class CountsRequests:
    """Middleware: tells of each request once it is answered, or was given up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._told: dict[tuple[str, int], Callable[[float], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        # Of a request that was never answered, as 500 of one that failed.
        status = 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_look)
        finally:
            self._tell(_operation(scope), status // 100, time.perf_counter() - started)

    def _tell(self, operation: str, status: int, seconds: float) -> None:
        tell = self._told.get((operation, status))
        if tell is None:
            tell = self._told[operation, status] = _teller(operation, status)
        tell(seconds)


def _teller(operation: str, status: int) -> Callable[[float], None]:
    count = REQUESTS.labels(operation, f"{status}xx").inc
    observe = REQUEST_SECONDS.labels(operation).observe

    def tell(seconds: float) -> None:
        count()
        observe(seconds)

    return tell


def _operation(scope: Scope) -> str:
    route = scope.get("route")
    method = scope["method"] if scope["method"] in _METHODS else "OTHER"
    return f"{method} {route.path}" if route is not None else _NO_ROUTE
