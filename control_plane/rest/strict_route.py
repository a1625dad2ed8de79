"""A route that takes strict JSON, and is nothing more: those of the operators' door, and of log-in."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from control_plane.rest.strict_json import StrictRequest


class StrictRoute(APIRoute):
    """Routers name it as their `route_class`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler, given a request whose JSON is strict."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return answer
