"""What each route of a resource understands beside what it is for.

JSON is strict. A POST takes Idempotency-Key; a GET takes `fields` and If-None-Match, and gives an ETag; PATCH, PUT and
DELETE take If-Match. It is all around the route's own handler and still inside of its transaction: the framework leaves
that when the handler has returned.
"""

from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from control_plane.rest.audited_deeds import record_deed
from control_plane.rest.dependencies import calls_of
from control_plane.rest.kept_answers import HEADER, PATTERN, Handler, answer_once
from control_plane.rest.new_message import request_idempotency
from control_plane.rest.sparse_fields import LONGEST, known_fields, parse_fields, pattern_of, project
from control_plane.rest.strict_json import StrictRequest
from control_plane.rest.versions import expect, tag_of, unchanged

_CHANGING = frozenset({"PATCH", "PUT", "DELETE"})


class ResourceRoute(APIRoute):
    """A route of the tenants' door: routers name it as their `route_class`."""

    #: For a route that changes a thing, what shows it (`link_versions`).
    shown_by: "ResourceRoute | None" = None

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the framework's own
        super().__init__(*arguments, **named)
        self.openapi_extra = _with(self.openapi_extra, self._parameters(), shows=self.shows)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler with all of this around it."""
        handler = super().get_route_handler()
        if self._keeps_answers:
            around = answer_once
        elif self.shows:
            around = self._show
        elif self._methods & _CHANGING:
            around = self._change
        else:
            around = _as_it_is

        async def answer(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            return await around(strict, handler if self.shows else _audited(handler))

        return answer

    @property
    def shows(self) -> bool:
        """Whether it shows a thing, or a list of them."""
        return "GET" in self._methods

    @property
    def _methods(self) -> set[str]:
        return self.methods or set()

    @property
    def _keeps_answers(self) -> bool:
        """Whether answers are kept here: messages keep their keys themselves, with the sends."""
        return "POST" in self._methods and request_idempotency not in calls_of(self.dependant)

    async def _show(self, request: Request, handler: Handler) -> Response:
        # Whoever may not ask is told so first.
        answer = await handler(request)
        known = known_fields(self.response_model)
        names = parse_fields(request.query_params.getlist("fields"), known) if known else None
        if answer.status_code != HTTPStatus.OK or answer.headers.get("content-type") != "application/json":
            return answer
        content = bytes(answer.body)
        shown = content if names is None else project(content, names)
        tag = tag_of(content, shown)
        if unchanged(request.headers.get("if-none-match"), tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        if names is not None:
            answer = Response(shown, media_type="application/json")
        answer.headers["ETag"] = tag
        return answer

    async def _change(self, request: Request, handler: Handler) -> Response:
        # Not our own handler of the route that shows it: that would answer with what If-None-Match says.
        expect(request, None if self.shown_by is None else APIRoute.get_route_handler(self.shown_by))
        return await handler(request)

    def _parameters(self) -> list[dict[str, Any]]:
        parameters = []
        if self._keeps_answers:
            parameters.append(_header(HEADER, "The same request under the same key is done once.", pattern=PATTERN))
        if self.shows:
            parameters.append(_header("If-None-Match", "An ETag: 304 when the answer would be the same."))
        if self.shows and (known := known_fields(self.response_model)):
            schema = {"type": "string", "maxLength": LONGEST, "pattern": pattern_of(known)}
            told = f"Only these fields, by commas, of: {', '.join(sorted(known))}."
            parameters.append({"name": "fields", "in": "query", "schema": schema, "description": told})
        return parameters

    def show_with(self, shown_by: "ResourceRoute | None") -> None:
        """Say what shows the thing that this route changes; with it comes If-Match, where there is an ETag to send."""
        told_already = self.shown_by is not None
        self.shown_by = shown_by
        if shown_by is not None and not told_already and self._methods & _CHANGING:
            told = _header("If-Match", "An ETag: 412 when it was changed since.")
            self.openapi_extra = _with(self.openapi_extra, [told], shows=False)


def _audited(handler: Handler) -> Handler:
    async def audited(request: Request) -> Response:
        answer = await handler(request)
        await record_deed(request, answer)
        return answer

    return audited


async def _as_it_is(request: Request, handler: Handler) -> Response:
    return await handler(request)


def link_versions(routers: Iterable[APIRouter]) -> None:
    """Tell each route that changes a thing which route shows it: the GET of the same path."""
    routes = [route for router in routers for route in router.routes if isinstance(route, ResourceRoute)]
    showing = {route.path: route for route in routes if route.shows}
    for route in routes:
        if not route.shows:
            route.show_with(showing.get(route.path))


def _header(name: str, description: str, **schema: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string", **schema}, "description": description}


def _with(extra: dict[str, Any] | None, parameters: list[dict[str, Any]], *, shows: bool) -> dict[str, Any]:
    added: dict[str, Any] = {**(extra or {}), "parameters": [*(extra or {}).get("parameters", []), *parameters]}
    if shows:
        added["responses"] = {**added.get("responses", {}), "304": {"description": "It is as the caller has it."}}
    return added
