from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fastapi import FastAPI
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr
from redis.asyncio import Redis

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.identity.person_passwords import PersonPasswords
from control_plane.rest.app import make_app
from control_plane.settings import Settings
from tests.fakes.submission_server import SubmissionServer, running_submission_server
from tests.integration.people.visitor import Visitor, make_person


@pytest.fixture
async def sink() -> AsyncIterator[SubmissionServer]:
    async with running_submission_server() as server:
        yield server


@pytest.fixture
def people_settings(rest_settings: Settings, redis_server: EmbeddedRedis, sink: SubmissionServer) -> Settings:
    own = {"redis_url": SecretStr(redis_server.url), "mail_url": SecretStr(sink.url), "public_url": "https://mail.test"}
    return rest_settings.model_copy(update=own)


@pytest.fixture
async def people_app(people_settings: Settings, redis: Redis) -> AsyncIterator[FastAPI]:
    """The application with an empty Redis, a way for letters, and hashes that cost nothing."""
    app = make_app(people_settings)
    cheap = PersonPasswords(Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))
    app.state.parts = replace(app.state.parts, people=replace(app.state.parts.people, passwords=cheap))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def visitor(people_app: FastAPI, sink: SubmissionServer) -> AsyncIterator[Visitor]:
    """Somebody who is nobody yet."""
    async with Visitor(people_app, sink) as somebody:
        yield somebody


@pytest.fixture
async def anna(people_app: FastAPI, sink: SubmissionServer) -> AsyncIterator[Visitor]:
    """A person with a tenant of her own, logged in."""
    async with Visitor(people_app, sink) as somebody:
        yield await make_person(somebody, "anna@example.net")


@pytest.fixture
async def bob(people_app: FastAPI, sink: SubmissionServer) -> AsyncIterator[Visitor]:
    """Another."""
    async with Visitor(people_app, sink) as somebody:
        yield await make_person(somebody, "bob@example.net")
