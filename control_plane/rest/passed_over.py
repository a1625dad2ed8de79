"""Routes that a request for something else passes over at once.

The framework tries route after route, each by its own pattern, and does so again on each level of routers. With some
two hundred routes that is a third of the time that a small request takes.
"""

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

_ANY = "{"


class PassedOver(APIRouter):
    """A resource's routes, tried only for paths that have the first word of one of them."""

    def __init__(self, resource: APIRouter) -> None:
        super().__init__()
        self.include_router(resource)
        firsts = {route.path.split("/")[1] for route in resource.routes if isinstance(route, APIRoute)}
        self._words = frozenset(firsts)
        self._tries_all = any(_ANY in word for word in firsts)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether one of the routes is for this; only the path of the door is known here, not what is before it."""
        if self._tries_all or not self._words.isdisjoint(scope["path"].split("/")):
            return super().matches(scope)
        return Match.NONE, {}
