"""What the routes work with, wired once in app.py."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from control_plane.clock import Clock
from control_plane.messages.together import AcceptsTogether
from control_plane.people.people import People
from control_plane.providers.base import Provider
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database


@dataclass(frozen=True, slots=True)
class Parts:
    """Kept in `app.state.parts`. The database is that of the API role."""

    settings: Settings
    database: Database
    sealer: Sealer
    providers: Mapping[str, Provider]
    clock: Clock
    accepting: AcceptsTogether
    limiter: RateLimiter
    people: People


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that serves the request."""
    parts: Parts = request.app.state.parts
    return parts
