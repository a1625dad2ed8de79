"""What each route of the tenants' door understands beside what it is for.

It is of things that have versions (versioned_route.py), and what changes something is audited, inside of the route's
transaction.
"""

from fastapi import Request, Response

from control_plane.rest.audited_deeds import record_deed
from control_plane.rest.dependencies import calls_of
from control_plane.rest.kept_answers import Handler
from control_plane.rest.new_message import request_idempotency
from control_plane.rest.versioned_route import VersionedRoute


class ResourceRoute(VersionedRoute):
    """A route of the tenants' door: routers name it as their `route_class`."""

    def changing(self, handler: Handler) -> Handler:
        """Return the handler, with the deed written down."""

        async def audited(request: Request) -> Response:
            answer = await handler(request)
            await record_deed(request, answer)
            return answer

        return audited

    @property
    def keeps_answers(self) -> bool:
        """Whether a request may be repeated under a key here: messages keep their keys themselves, with the sends."""
        return super().keeps_answers and request_idempotency not in calls_of(self.dependant)
