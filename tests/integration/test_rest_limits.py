from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from pydantic import SecretStr
from redis.asyncio import Redis

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.errors import TooManyRequests, Unavailable
from control_plane.rest import limited_requests
from control_plane.rest.app import make_app
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.rest.rates import RATES, Rates, RouteClass
from control_plane.settings import Settings
from tests.integration.database import SomeTenant
from tests.integration.rest import client_of, problem

LOGINS = RateLimitItemPerHour(2, namespace="login-test")


def rates(key: int, tenant: int, address: int) -> Rates:
    items: list[RateLimitItem] = [RateLimitItemPerMinute(each, namespace="read") for each in (key, tenant, address)]
    return Rates(*items)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, rest_app: FastAPI) -> None:
    monkeypatch.setattr(limited_requests, "RATES", {**RATES, RouteClass.READ: rates(4, 6, 30)})
    monkeypatch.setattr(rest_app.state.limiter, "_now", lambda: 630.0)


@pytest.fixture
async def limiters(redis: Redis, redis_server: EmbeddedRedis) -> AsyncIterator[tuple[RateLimiter, RateLimiter]]:
    two = RateLimiter(redis_server.url, lambda: 600.0), RateLimiter(redis_server.url, lambda: 600.0)
    yield two
    for each in two:
        await each.close()


@pytest.mark.usefixtures("few")
async def test_each_answer_says_what_is_left_and_one_too_many_when_to_come_again(
    rest_client: httpx.AsyncClient, tenant: SomeTenant
) -> None:
    path = f"workspaces/{tenant.workspace_id}/vps"
    # The first finds the key unknown, and is held against the address alone.
    answers = [await rest_client.get(path) for _ in range(6)]
    assert [each.status_code for each in answers] == [200] * 5 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=4;w=60, "tenant";q=6;w=60, "address";q=30;w=60'
    assert answers[0].headers["ratelimit"] == '"address";r=29;t=30'
    assert answers[1].headers["ratelimit"] == '"key";r=3;t=30'
    problem(answers[-1], 429, "too-many-requests")
    assert answers[-1].headers["ratelimit"] == '"key";r=0;t=30'
    assert answers[-1].headers["retry-after"] == "30"


@pytest.mark.usefixtures("few")
async def test_keys_that_are_not_true_use_up_nothing_of_the_tenant_they_name(
    rest_app: FastAPI, tenant: SomeTenant
) -> None:
    path = f"workspaces/{tenant.workspace_id}/vps"
    async with client_of(rest_app, f"{tenant.api_key}x") as forger, client_of(rest_app, tenant.api_key) as client:
        for _ in range(4):
            problem(await forger.get(path), 401, "unauthenticated")
        assert (await client.get(path)).status_code == 200
        assert (await client.get(path)).headers["ratelimit"] == '"key";r=3;t=30'


@pytest.mark.usefixtures("few")
async def test_an_address_is_limited_whatever_it_presents(rest_app: FastAPI) -> None:
    async with client_of(rest_app, None) as client:
        statuses = [(await client.get("queue")).status_code for _ in range(31)]
    assert statuses == [401] * 30 + [429]


async def test_processes_count_together(limiters: tuple[RateLimiter, RateLimiter]) -> None:
    one, other = limiters
    limits = [(RateLimitItemPerMinute(50), "read/key/k")]
    for _ in range(30):
        one.take(limits)
    await one.settle()
    for _ in range(5):
        assert not other.take(limits).exceeded
    await other.settle()
    assert other.take(limits).remaining == 50 - 30 - 5 - 1
    assert sum(not other.take(limits).exceeded for _ in range(40)) == 14


async def test_attempts_are_counted_strictly_and_by_all_processes(limiters: tuple[RateLimiter, RateLimiter]) -> None:
    one, other = limiters
    await one.take_strictly(LOGINS, "anna@example.net")
    await other.take_strictly(LOGINS, "anna@example.net")
    with pytest.raises(TooManyRequests) as refused:
        await one.take_strictly(LOGINS, "anna@example.net")
    assert refused.value.retry_after == 3600
    await one.take_strictly(LOGINS, "bert@example.net")


async def test_names_of_accounts_do_not_stand_in_redis(limiters: tuple[RateLimiter, RateLimiter], redis: Redis) -> None:
    await limiters[0].take_strictly(LOGINS, "anna@example.net")
    names = [str(name) for name in await redis.keys("*")]
    assert names
    assert not any("anna" in name or "rest:limits:" not in name for name in names)


async def test_without_redis_the_api_stays_open_and_nobody_is_let_in(
    rest_settings: Settings, tenant: SomeTenant
) -> None:
    app = make_app(rest_settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1")}))
    async with app.router.lifespan_context(app), client_of(app, tenant.api_key) as client:
        assert (await client.get(f"workspaces/{tenant.workspace_id}/vps")).status_code == 200
        with pytest.raises(Unavailable):
            await app.state.limiter.take_strictly(LOGINS, "anna@example.net")
    with pytest.raises(Unavailable):
        await RateLimiter().take_strictly(LOGINS, "anna@example.net")


@pytest.mark.usefixtures("few")
async def test_keys_of_one_tenant_share_its_limit(rest_app: FastAPI, tenant: SomeTenant) -> None:
    async with client_of(rest_app, tenant.api_key) as client:
        made = await client.post("api-keys", json={"name": "second", "role": "owner"})
        async with client_of(rest_app, made.json()["key"]) as second:
            turns = (client, second) * 4
            statuses = [(await each.get("queue")).status_code for each in turns]
    # The making of the key was a write, after which the first key was known; the second was not when it came first.
    assert statuses == [200] * 7 + [429]
