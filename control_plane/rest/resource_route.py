"""What each route of the tenants' door understands beside what it is for.

It is of things that have versions (versioned_route.py). A POST takes Idempotency-Key beside that, and what changes
something is audited, all inside of the route's transaction.
"""

from typing import Any

from fastapi import Request, Response

from control_plane.rest.audited_deeds import record_deed
from control_plane.rest.dependencies import calls_of
from control_plane.rest.kept_answers import HEADER, PATTERN, Handler, answer_once
from control_plane.rest.new_message import request_idempotency
from control_plane.rest.versioned_route import Around, VersionedRoute, header


class ResourceRoute(VersionedRoute):
    """A route of the tenants' door: routers name it as their `route_class`."""

    def around(self) -> Around:
        """Return what answers with the route's handler."""
        return answer_once if self._keeps_answers else super().around()

    def changing(self, handler: Handler) -> Handler:
        """Return the handler, with the deed written down."""

        async def audited(request: Request) -> Response:
            answer = await handler(request)
            await record_deed(request, answer)
            return answer

        return audited

    def header_parameters(self) -> list[dict[str, Any]]:
        """Return what it takes around its handler, for OpenAPI."""
        own = super().header_parameters()
        if not self._keeps_answers:
            return own
        return [header(HEADER, "The same request under the same key is done once.", pattern=PATTERN), *own]

    @property
    def _keeps_answers(self) -> bool:
        """Whether answers are kept here: messages keep their keys themselves, with the sends."""
        return "POST" in self.verbs and request_idempotency not in calls_of(self.dependant)
