"""What our REST doors have in common: bounded bodies, named requests, problems, a health check, and one database role.

A door connects to nothing before it is started, and does not start with a role that could bypass row-level security.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import APIRouter, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from control_plane.people.people import People
from control_plane.rest import healthz, problem_pages
from control_plane.rest.answer_headers import describe_answer_headers
from control_plane.rest.body_limit import LimitsBodies
from control_plane.rest.cursors import Cursors
from control_plane.rest.examples import describe_examples
from control_plane.rest.gateways import BelievesGateways
from control_plane.rest.limited_requests import LimitsRequests
from control_plane.rest.passed_over import PassedOver
from control_plane.rest.problems import HANDLERS, RESPONSES, describe_problems
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.rest.request_id import NamesRequests
from control_plane.rest.request_metrics import CountsRequests
from control_plane.rest.sparse_answers import describe_sparse_answers
from control_plane.settings import Settings
from control_plane.telemetry.exposition import metrics_door
from control_plane.telemetry.traces import tracing
from db.session import Database


class Door(FastAPI):
    """An application whose OpenAPI document also says what is understood around each route."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        made_before = self.openapi_schema is not None
        document = super().openapi()
        if not made_before:
            describe_problems(document)
            describe_examples(document)
            describe_sparse_answers(document)
            describe_answer_headers(document, counted=self.state.limiter is not None)
        return document


def make_door(
    title: str,
    prefix: str,
    resources: Iterable[APIRouter],
    database: Database,
    cursors: Cursors,
    *,
    max_body: int,
    limiter: RateLimiter | None = None,
    people: People | None = None,
    settings: Settings,
) -> FastAPI:
    """Return an application that serves the resources below the prefix; `max_body` in octets.

    Without a limiter requests are not counted; without people nobody logs in here. `/metrics` is elsewhere, as
    the settings say.
    """
    app = Door(title=title, version="1", lifespan=_lifespan, exception_handlers=HANDLERS, redoc_url=None)
    app.state.database = database
    app.state.cursors = cursors
    app.state.stopping = False
    app.state.limiter = limiter
    app.state.people = people
    app.state.settings = settings
    app.add_middleware(LimitsBodies, limit=max_body)
    if limiter:
        app.add_middleware(LimitsRequests, limiter=limiter, prefix=prefix)
    if settings.trusted_proxies:
        app.add_middleware(BelievesGateways, gateways=settings.trusted_proxies)
    app.add_middleware(NamesRequests)
    app.add_middleware(CountsRequests)
    api = APIRouter(prefix=prefix, responses=RESPONSES)
    for resource in resources:
        api.include_router(PassedOver(resource))
    app.include_router(api)
    app.include_router(healthz.router)
    app.include_router(problem_pages.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    database: Database = app.state.database
    people: People | None = app.state.people
    settings: Settings = app.state.settings
    try:
        await database.refuse_unsafe_role()
        if people is not None:
            await people.database.refuse_unsafe_role()
        async with (
            metrics_door(settings.metrics_listen, _engines(app)),
            tracing(settings.otlp_endpoint, settings.otlp_share, "rest"),
            _shared_counts(app.state.limiter),
        ):
            yield
    finally:
        await database.close()
        if people is not None:
            await people.close()


def _engines(app: FastAPI) -> dict[str, AsyncEngine]:
    engines = {"door": app.state.database.engine}
    return engines if app.state.people is None else {**engines, "identity": app.state.people.database.engine}


@asynccontextmanager
async def _shared_counts(limiter: RateLimiter | None) -> AsyncIterator[None]:
    """Share the limiter's counts with other processes meanwhile."""
    if limiter is None:
        yield
        return
    task = asyncio.create_task(limiter.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await limiter.close()
