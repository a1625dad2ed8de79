"""The adapter of Hostwinds at a fake over HTTP, with its orders in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from control_plane.clock import boot_seconds
from control_plane.providers.base import NeedsPerson, ProviderBusy, ProviderError, ServerOrder
from control_plane.providers.hostwinds import client
from control_plane.providers.hostwinds.catalogue import Allowance
from control_plane.providers.hostwinds.client import Access
from control_plane.providers.hostwinds.orders import forget_order
from control_plane.providers.hostwinds.provider import Account, HostwindsProvider
from control_plane.providers.hostwinds.ssh import Login
from db.session import Database
from tests.fakes.hetzner.faults import Fault, Loss
from tests.fakes.hostwinds.door import FakeHostwinds, running_hostwinds

NAME = "pm-0123456789ab"
ORDER = ServerOrder(NAME, "mx-1.penguin.example", "starter", "1", "", ())
ALLOWED = Allowance(opted_in=True, per_server=Decimal(20), in_all=Decimal(25))


@dataclass
class Ground:
    """The fake, its clock, and an adapter that asks it."""

    fake: FakeHostwinds
    database: Database
    account: Account
    seconds: float = 0.0

    @property
    def provider(self) -> HostwindsProvider:
        return HostwindsProvider(self.account, self.database)

    async def ordered(self, name: str = NAME) -> None:
        with pytest.raises(ProviderBusy, match="is making the server"):
            await self.provider.create(replace(ORDER, name=name))

    async def age(self, by: timedelta) -> None:
        async with self.database.system() as session:
            await session.execute(text("UPDATE provider_orders SET placed_at = placed_at - :by"), {"by": by})

    @property
    def orders(self) -> int:
        return self.fake.seen.count("add_instance")


@pytest.fixture
async def ground(system_database: Database, tmp_path: Path) -> AsyncIterator[Ground]:
    with running_hostwinds(clock=lambda: made.seconds) as fake:
        access = Access(fake.url, SecretStr(fake.key), 2.0)
        login = Login(tmp_path / "key", tmp_path / "known")
        made = Ground(fake, system_database, Account(access, ALLOWED, "tpl-1", ("1",), "penguin", login))
        yield made


async def test_a_server_is_ordered_once_found_by_its_name_and_given_back(ground: Ground) -> None:
    ground.fake.account.made_after = 60.0
    await ground.ordered()
    making = await ground.provider.create(ORDER)
    assert making.progress == 50
    ground.seconds = 61.0
    made = await ground.provider.create(ORDER)
    assert (made.name, made.ipv4_address, made.progress) == (NAME, "198.51.100.1", None)
    assert made.memory_bytes == 2 << 30
    assert [server.name for server in await ground.provider.list()] == [NAME]

    await ground.provider.set_reverse_dns(NAME, made.ipv4_address, "mx-1.penguin.example")
    assert ground.fake.account.reverse_dns == {"198.51.100.1": "mx-1.penguin.example"}
    with pytest.raises(ProviderBusy, match="switching"):
        await ground.provider.power_off(NAME)
    await ground.provider.power_off(NAME)
    with pytest.raises(ProviderBusy, match="rebuilding"):
        await ground.provider.rebuild(NAME, "", 1)
    ground.seconds = 200.0
    await ground.provider.rebuild(NAME, "", 1)
    assert ground.fake.account.reinstalled == 1

    with pytest.raises(ProviderBusy, match="deleting"):
        await ground.provider.delete(NAME)
    await ground.provider.delete(NAME)
    await ground.provider.delete(NAME)
    assert await ground.provider.find(NAME) is None
    with pytest.raises(ProviderError, match="was ordered at Hostwinds before"):
        await ground.provider.create(ORDER)
    assert (ground.orders, ground.fake.account.costs.double_charges) == (1, 0)


async def test_a_reinstallation_is_not_sent_late_and_sent_again_only_until_it_was_answered(ground: Ground) -> None:
    await ground.ordered()
    with pytest.raises(ProviderBusy, match="took too long"):
        await ground.provider.rebuild(NAME, "", 1, boot_seconds())
    assert ground.fake.account.reinstalled == 0
    ground.fake.script.add(Fault("reinstall_instance", "", lose=Loss.CLOSED))
    with pytest.raises(ProviderBusy, match="no answer"):
        await ground.provider.rebuild(NAME, "", 1)
    with pytest.raises(ProviderBusy, match="rebuilding"):
        await ground.provider.rebuild(NAME, "", 1)
    for _ in range(2):
        await ground.provider.rebuild(NAME, "", 1)
    assert ground.fake.account.reinstalled == 2


@pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.GATEWAY_TIMEOUT, Loss.GARBLED, Loss.SILENCE])
async def test_an_order_whose_answer_is_lost_is_looked_for_and_never_sent_again(ground: Ground, loss: Loss) -> None:
    ground.fake.account.listed_after = 100.0
    ground.fake.script.add(Fault("add_instance", "", lose=loss))
    with pytest.raises(ProviderBusy, match=r"no answer|504|cannot be read"):
        await ground.provider.create(ORDER)
    with pytest.raises(ProviderBusy, match="is not listed yet"):
        await ground.provider.create(ORDER)
    with pytest.raises(ProviderBusy, match="is not listed yet"):
        await ground.provider.delete(NAME)
    with pytest.raises(ProviderBusy, match="one at a time"):
        await ground.provider.create(replace(ORDER, name="pm-another"))
    await ground.age(timedelta(minutes=11))
    with pytest.raises(NeedsPerson, match=f"forget-order hostwinds {NAME}"):
        await ground.provider.create(ORDER)
    ground.seconds = 101.0
    assert (await ground.provider.create(ORDER)).name == NAME
    costs = ground.fake.account.costs
    assert (costs.servers_asked, costs.servers_created, costs.double_charges) == (1, 1, 0)
    await ground.ordered("pm-another")


async def test_an_order_that_was_cut_off_before_it_was_sent_waits_until_a_person_says_so(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the worker is killed between the row and the request."""

    async def killed(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(HostwindsProvider, "_send", killed)
    with pytest.raises(asyncio.CancelledError):
        await ground.provider.create(ORDER)
    monkeypatch.undo()
    await ground.age(timedelta(minutes=11))
    with pytest.raises(NeedsPerson):
        await ground.provider.create(ORDER)
    assert ground.orders == 0
    async with ground.database.system() as session:
        assert await forget_order(session, NAME)
    await ground.ordered()


async def test_a_worker_that_wakes_late_sends_no_order(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    # It looks and reads the prices, and is paused before it sends the order.
    now = iter([0.0] * 4)
    monkeypatch.setattr(client, "boot_seconds", lambda: next(now, 3600.0))
    with pytest.raises(ProviderBusy, match="took too long"):
        await ground.provider.create(ORDER)
    assert ground.orders == 0
    monkeypatch.undo()
    await ground.ordered()


async def test_a_worker_whose_right_to_order_ran_out_before_it_looked_sends_no_order(ground: Ground) -> None:
    with pytest.raises(ProviderBusy, match="took too long"):
        await ground.provider.create(replace(ORDER, begin_before=boot_seconds()))
    assert ground.orders == 0
    await ground.ordered()


@pytest.mark.parametrize(
    ("message", "kind"),
    [("Insufficient account balance.", NeedsPerson), ("Too many requests", ProviderBusy), ("Bad rid.", ProviderError)],
)
async def test_an_order_that_is_refused_is_not_unresolved(
    ground: Ground, message: str, kind: type[ProviderError]
) -> None:
    ground.fake.script.add(Fault("add_instance", "", refuse="1", message=message))
    with pytest.raises(kind, match=message):
        await ground.provider.create(ORDER)
    await ground.ordered()
    assert ground.fake.account.costs.servers_created == 1


async def test_without_money_a_person_is_told_and_it_goes_on_afterwards(ground: Ground) -> None:
    ground.fake.account.balance = Decimal(1)
    with pytest.raises(NeedsPerson, match="add funds"):
        await ground.provider.create(ORDER)
    ground.fake.account.balance = Decimal(100)
    await ground.ordered()


async def test_no_more_is_spent_than_is_allowed(ground: Ground) -> None:
    await ground.ordered()
    assert await ground.provider.find(NAME) is not None
    await ground.ordered("pm-2")
    assert await ground.provider.find("pm-2") is not None
    with pytest.raises(ProviderError, match=r"would cost 29\.97 USD a month, more than they may"):
        await ground.provider.create(replace(ORDER, name="pm-3"))
    ground.account = replace(ground.account, allowance=replace(ALLOWED, opted_in=False))
    with pytest.raises(ProviderError, match="PENGUIN_HOSTWINDS_SPENDING"):
        await ground.provider.create(replace(ORDER, name="pm-4"))
    assert ground.fake.account.costs.charged == Decimal("19.98")


async def test_two_workers_at_once_order_once(ground: Ground) -> None:
    ground.fake.account.listed_after = 100.0
    outcomes = await asyncio.gather(*(ground.provider.create(ORDER) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(outcome, ProviderBusy) for outcome in outcomes)
    assert (ground.orders, ground.fake.account.costs.double_charges) == (1, 0)


async def test_a_key_from_another_address_is_a_sentence_without_the_key(ground: Ground) -> None:
    ground.fake.allowed = {"192.0.2.1"}
    with pytest.raises(NeedsPerson, match="not allowed from this machine's IPv4 address") as refused:
        await ground.provider.find(NAME)
    assert ground.fake.key not in str(refused.value)


async def test_being_asked_too_often_is_waited_for(ground: Ground) -> None:
    ground.fake.budget = 0
    with pytest.raises(ProviderBusy, match="too often"):
        await ground.provider.find(NAME)


async def test_two_servers_of_one_name_are_a_persons(ground: Ground) -> None:
    form = {"srvrname": NAME, "rid": "12", "template": "t", "location_id": "1"}
    ground.fake.account.add(form)
    ground.fake.account.add(form)
    with pytest.raises(NeedsPerson, match="2 servers"):
        await ground.provider.find(NAME)


async def test_prices_are_stated_by_the_month(ground: Ground) -> None:
    prices = {price.what: price.monthly_net for price in await ground.provider.prices()}
    assert prices["Unmanaged 2"] == Decimal("9.99")
