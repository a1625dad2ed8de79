"""The REST application: the tenants' door, under /api/v1; OpenAPI at /openapi.json, for people at /docs.

Everything that comes in is untrusted: bodies are limited while they are read, unknown fields are refused, and an API
key decides the tenant, under whose row-level security the whole request runs. The database role is that of the API,
which can bypass nothing; the application does not start with another.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from control_plane.clock import utc_now
from control_plane.providers.registry import build_providers
from control_plane.rest import dns_records, healthz, inboxes, messages, queue, vps
from control_plane.rest.body_limit import LimitsBodies
from control_plane.rest.parts import Parts
from control_plane.rest.problems import HANDLERS, RESPONSES
from control_plane.rest.request_id import NamesRequests
from control_plane.sealing import Sealer, load_or_create_key
from control_plane.settings import Settings
from db.session import Database

#: Connections to PostgreSQL of one process: as many requests are in a transaction at once.
_POOL_SIZE = 20


def make_app(settings: Settings) -> FastAPI:
    """Return the application; it connects to nothing before it is started."""
    parts = Parts(
        settings=settings,
        database=Database(settings.api_database_url.get_secret_value(), pool_size=_POOL_SIZE),
        sealer=Sealer(load_or_create_key(settings.sealing_key_file)),
        providers=build_providers(settings),
        clock=utc_now,
    )
    app = FastAPI(title="PenguinMails", version="1", lifespan=_lifespan, exception_handlers=HANDLERS, redoc_url=None)
    app.state.parts = parts
    app.add_middleware(LimitsBodies)
    app.add_middleware(NamesRequests)
    api = APIRouter(prefix="/api/v1", responses=RESPONSES)
    for resource in (vps, inboxes, dns_records, messages, queue):
        api.include_router(resource.router)
    app.include_router(api)
    app.include_router(healthz.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    try:
        await parts.database.refuse_unsafe_role()
        yield
    finally:
        await parts.database.close()
