"""A route of things that have versions.

A GET takes `fields` and If-None-Match, and gives an ETag; PATCH, PUT and DELETE take If-Match. It is all around the
route's own handler and still inside of its transaction, as what each route has (strict_route.py).
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from control_plane.rest.kept_answers import Handler
from control_plane.rest.sparse_fields import LONGEST, known_fields, parse_fields, pattern_of, project
from control_plane.rest.strict_route import Around, StrictRoute, header, with_parameters
from control_plane.rest.versions import expect, tag_of, tag_of_shown, unchanged

_CHANGING = frozenset({"PATCH", "PUT", "DELETE"})


class VersionedRoute(StrictRoute):
    """Routers name it as their `route_class`; whoever makes the application links them (`link_versions`)."""

    #: For a route that changes a thing, what shows it.
    shown_by: "VersionedRoute | None" = None
    #: Of a route that shows something: whether another changes that, which is when If-Match is said of it.
    is_changed: bool = False

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the framework's own
        super().__init__(*arguments, **named)
        if self.shows:
            self.openapi_extra = _with_not_modified(self.openapi_extra or {})

    def around(self) -> Around:
        """Return what answers with the route's handler."""
        if self.shows:
            return self._show
        return self._change if self.verbs & _CHANGING else super().around()

    def header_parameters(self) -> list[dict[str, Any]]:
        """Return what it takes around its handler, for OpenAPI."""
        if not self.shows:
            return super().header_parameters()
        parameters = [header("If-None-Match", "An ETag: 304 when the answer would be the same.")]
        if known := known_fields(self.response_model):
            schema = {"type": "string", "maxLength": LONGEST, "pattern": pattern_of(known)}
            told = f"Only these fields, by commas, of: {', '.join(sorted(known))}."
            parameters.append({"name": "fields", "in": "query", "schema": schema, "description": told})
        return parameters

    def show_with(self, shown_by: "VersionedRoute | None") -> None:
        """Say what shows the thing that this route changes; with it comes If-Match, where there is an ETag to send."""
        told_already = self.shown_by is not None
        self.shown_by = shown_by
        if shown_by is not None and not told_already and self.verbs & _CHANGING:
            shown_by.is_changed = True
            told = header("If-Match", "An ETag: 412 when it was changed since.")
            self.openapi_extra = with_parameters(self.openapi_extra, [told])

    async def _show(self, request: Request, handler: Handler) -> Response:
        # Whoever may not ask is told so first.
        answer = await handler(request)
        known = known_fields(self.response_model)
        names = parse_fields(request.query_params.getlist("fields"), known) if known else None
        if answer.status_code != HTTPStatus.OK or answer.headers.get("content-type") != "application/json":
            return answer
        content = bytes(answer.body)
        shown = content if names is None else project(content, names)
        tag = tag_of(content, shown) if self.is_changed else tag_of_shown(shown)
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


def link_versions(routers: Iterable[APIRouter]) -> None:
    """Tell each route that changes a thing which route shows it: the GET of the same path."""
    routes = [route for router in routers for route in router.routes if isinstance(route, VersionedRoute)]
    showing = {route.path: route for route in routes if route.shows}
    for route in routes:
        if not route.shows:
            route.show_with(showing.get(route.path))


def _with_not_modified(extra: dict[str, Any]) -> dict[str, Any]:
    return {**extra, "responses": {**extra.get("responses", {}), "304": {"description": "It is as the caller has it."}}}
