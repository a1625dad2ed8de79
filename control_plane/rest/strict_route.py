"""A route that takes strict JSON, and whose POST takes Idempotency-Key: those of the operators' door, and of log-in.

Both are around the route's own handler and still inside of its transaction, if it has one: the framework leaves that
when the handler has returned.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from control_plane.rest.kept_answers import HEADER, PATTERN, Handler, answer_once
from control_plane.rest.strict_json import StrictRequest

Around = Callable[[Request, Handler], Awaitable[Response]]


class StrictRoute(APIRoute):
    """Routers name it as their `route_class`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the framework's own
        super().__init__(*arguments, **named)
        self.openapi_extra = with_parameters(self.openapi_extra, self.header_parameters())

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler with all of this around it."""
        handler = super().get_route_handler()
        around, inner = self.around(), handler if self.shows else self.changing(handler)

        async def answer(request: Request) -> Response:
            return await around(StrictRequest(request.scope, request.receive), inner)

        return answer

    def around(self) -> Around:
        """Return what answers with the route's handler."""
        return answer_once if self.keeps_answers else _as_it_is

    def changing(self, handler: Handler) -> Handler:
        """Return the handler of a route that changes something, with what is done beside that."""
        return handler

    @property
    def verbs(self) -> set[str]:
        """The methods that it answers."""
        return self.methods or set()

    @property
    def shows(self) -> bool:
        """Whether it shows a thing, or a list of them."""
        return "GET" in self.verbs

    @property
    def keeps_answers(self) -> bool:
        """Whether a request may be repeated under a key."""
        return "POST" in self.verbs

    def header_parameters(self) -> list[dict[str, Any]]:
        """Return what it takes around its handler, for OpenAPI."""
        if not self.keeps_answers:
            return []
        return [header(HEADER, "The same request under the same key is done once.", pattern=PATTERN)]


async def _as_it_is(request: Request, handler: Handler) -> Response:
    return await handler(request)


def header(name: str, description: str, **schema: str) -> dict[str, Any]:
    """Return a header as OpenAPI describes it."""
    return {"name": name, "in": "header", "schema": {"type": "string", **schema}, "description": description}


def with_parameters(extra: dict[str, Any] | None, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is said of a route, with parameters that it takes beside its own."""
    return {**(extra or {}), "parameters": [*(extra or {}).get("parameters", []), *parameters]}
