"""The project's rate limit, shared by workers through a real PostgreSQL."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from control_plane.providers.base import ProviderBusy
from control_plane.providers.hetzner.client import Operation, RateLimit
from control_plane.providers.hetzner.pace import RESERVE, SharedPace
from db.session import Database
from tests.integration.hetzner.ground import NAME, ORDER, Ground, adapter, gather_results, ground

TOKEN = SecretStr("fake-token-of-a-project")


@pytest.fixture
def here() -> Iterator[Ground]:
    with ground() as prepared:
        yield prepared


async def remaining(database: Database) -> float:
    async with database.system() as session:
        return float(await session.scalar(text("SELECT remaining FROM provider_rate_limits")) or 0.0)


async def set_remaining(database: Database, left: float) -> None:
    async with database.system() as session:
        await session.execute(
            text("UPDATE provider_rate_limits SET remaining = :left, measured_at = clock_timestamp()"), {"left": left}
        )


async def test_a_call_counts_what_it_sent_and_no_more(here: Ground, system_database: Database) -> None:
    provider = adapter(here.fake, pace=SharedPace(system_database, TOKEN))
    await provider.find(NAME)
    assert len(here.fake.seen) == 1
    assert await remaining(system_database) == pytest.approx(3599, abs=0.9)
    await provider.create(ORDER)
    assert await remaining(system_database) == pytest.approx(3600 - len(here.fake.seen), abs=0.9)


async def test_what_others_send_with_the_projects_tokens_counts(here: Ground, system_database: Database) -> None:
    here.fake.limit.remaining = 100.0
    here.fake.limit.at = here.clock()
    await adapter(here.fake, pace=SharedPace(system_database, TOKEN)).find(NAME)
    assert await remaining(system_database) == pytest.approx(99, abs=1.0)


async def test_no_worker_asks_when_one_was_told_that_the_limit_is_used_up(
    here: Ground, system_database: Database
) -> None:
    first, second = (adapter(here.fake, pace=SharedPace(system_database, TOKEN)) for _ in range(2))
    here.fake.limit.remaining = 0.0
    here.fake.limit.at = here.clock()
    with pytest.raises(ProviderBusy, match="rate_limit_exceeded"):
        await first.find(NAME)
    with pytest.raises(ProviderBusy, match="fills again") as caught:
        await second.find(NAME)
    assert len(here.fake.seen) == 1
    assert 12 + RESERVE - 2 < caught.value.seconds <= 12 + RESERVE


@pytest.mark.parametrize("headers", [{}, {"RateLimit-Limit": "x", "RateLimit-Remaining": "-1"}])
async def test_a_refusal_without_numbers_says_as_much(here: Ground, headers: dict[str, str]) -> None:
    operation = Operation(here.provider._account)
    operation.read_limit(429, headers)
    assert (operation.rate.per_hour, operation.rate.remaining) == (None, 0)
    operation.close()


async def test_it_fills_again_as_time_passes(system_database: Database) -> None:
    pace = SharedPace(system_database, TOKEN)
    await pace.settle(0, RateLimit(sent=1, per_hour=3600, remaining=0))
    with pytest.raises(ProviderBusy):
        await pace.reserve(5)
    async with system_database.system() as session:
        await session.execute(text("UPDATE provider_rate_limits SET measured_at = measured_at - interval '40 seconds'"))
    await pace.reserve(5)
    assert await remaining(system_database) == pytest.approx(35, abs=1.5)


async def test_workers_that_begin_at_once_reserve_no_more_than_there_is(system_database: Database) -> None:
    paces = [SharedPace(system_database, TOKEN) for _ in range(4)]
    await paces[0].reserve(0)
    await set_remaining(system_database, RESERVE + 25.0)
    results = await gather_results(*(pace.reserve(10) for pace in paces))
    assert [type(each) for each in results].count(ProviderBusy) == 2
    assert await remaining(system_database) == pytest.approx(RESERVE + 5, abs=1.5)


async def test_projects_have_a_limit_each_and_tokens_are_not_stored(system_database: Database) -> None:
    await SharedPace(system_database, SecretStr("token-one")).settle(0, RateLimit(sent=1, per_hour=3600, remaining=0))
    await SharedPace(system_database, SecretStr("token-two")).reserve(80)
    async with system_database.system() as session:
        accounts = list(await session.scalars(text("SELECT account FROM provider_rate_limits")))
    assert len(accounts) == 2
    assert not [account for account in accounts if "token" in account]


async def test_a_call_that_fails_gives_back_what_it_did_not_send(here: Ground, system_database: Database) -> None:
    provider = adapter(here.fake, token="wrong", pace=SharedPace(system_database, TOKEN))
    with pytest.raises(ProviderBusy):
        await provider.create(ORDER)
    assert await remaining(system_database) == pytest.approx(3599, abs=0.9)
