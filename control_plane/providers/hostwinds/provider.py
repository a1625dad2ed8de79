"""The provider `hostwinds`, by its form API. Documented, not verified live: no account was at hand.

An order is charged at once and its answer holds no id, so each is written down first (`orders.py`), a server is looked
for by its `srvrname` before it is ordered, and one order at a time may be unresolved. Nothing is ordered that the
operator has not allowed (`catalogue.Allowance`).
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from control_plane.providers.base import (
    SIZES,
    Capability,
    NeedsPerson,
    Price,
    ProviderBusy,
    ProviderError,
    ProviderServer,
    ServerOrder,
)
from control_plane.providers.hostwinds.catalogue import CURRENCY, Allowance, Plan, choose, read_plans
from control_plane.providers.hostwinds.client import Access, Deadline, Field, NotDone, ask, rendered
from control_plane.providers.hostwinds.envelope import Refusal
from control_plane.providers.hostwinds.orders import Orders
from control_plane.providers.hostwinds.ssh import Login, known_as, start_joining
from control_plane.providers.hostwinds.view import runs, view
from db.session import Database

#: How long an order that is not to be seen is looked for before a person is asked.
_LOOKED_FOR = timedelta(minutes=10)
_HOURS_A_MONTH = 730


@dataclass(frozen=True, slots=True)
class Account:
    """One Hostwinds account, and what is ordered there: an image by Hostwinds' id, with an SSH key by its name."""

    access: Access
    allowance: Allowance
    template: str
    locations: tuple[str, ...]
    ssh_key: str
    login: Login = field(repr=False)

    @property
    def id(self) -> str:
        """What orders are kept under; tells nothing of the key."""
        key = self.access.key.get_secret_value()
        return f"hostwinds:{hashlib.sha256(key.encode()).hexdigest()[:16]}"


class HostwindsProvider:
    """Implements `providers.base.Provider`, `RebuildsServers`, `ListsServers`, `StatesPrices` and `JoinsServers`.

    `database` is the system role's, None where only the offer is shown.
    """

    key = "hostwinds"
    sizes = tuple(SIZES)
    capabilities = frozenset(
        {Capability.POWER, Capability.REBUILD, Capability.REVERSE_DNS, Capability.PRICES, Capability.LIST}
    )

    def __init__(self, account: Account, database: Database | None) -> None:
        self._account = account
        self.regions = account.locations
        self._orders = Orders(database, account.id) if database is not None else None

    async def create(self, order: ServerOrder) -> ProviderServer:
        """Order the server, unless it is there or was ordered; raises `ProviderBusy` until it is listed."""
        if (found := await self.find(order.name)) is not None:
            return found
        await self._refuse_ordered(order.name)
        deadline = Deadline(end=order.begin_before)
        plan = choose(order.size, await self._plans(deadline))
        self._account.allowance.check_plan(plan)
        attempt = await self._book().place(order.name, plan.monthly, self._account.allowance)
        await self._send(deadline, order, plan, attempt)
        raise ProviderBusy(f"Hostwinds has taken the order for {order.name} and is making the server", 5.0)

    async def find(self, name: str) -> ProviderServer | None:
        """Return the server of that name, if it is listed."""
        instance = await self._look_up(name)
        return None if instance is None else view(instance, None)

    async def list(self) -> Sequence[ProviderServer]:
        """Return all servers whose names are like ours; Hostwinds has no labels."""
        instances = await self._ask(Deadline(), "get_instances")
        own = [each for each in instances if str(each.get("srvrname", "")).startswith("pm-")]
        return sorted((view(each, None) for each in own), key=lambda server: server.name)

    async def delete(self, name: str) -> None:
        """Terminate it; raises `ProviderBusy` until it is gone, and while an order for it is unresolved."""
        instance = await self._look_up(name)
        if instance is not None:
            await self._ask(Deadline(), "terminate", serviceid=_service(instance))
            raise ProviderBusy(f"Hostwinds is deleting the server {name}", 5.0)
        order = await self._book().load(name)
        if order is not None and not order.found:
            await self._refuse_ordered(name)
        await self._book().end(name)

    async def power_off(self, name: str) -> None:
        """Shut it down."""
        await self._switch(name, "shutdown", wanted=False)

    async def power_on(self, name: str) -> None:
        """Start it."""
        await self._switch(name, "boot", wanted=True)

    async def reboot(self, name: str) -> None:
        """Ask the operating system to start again."""
        await self._ask(Deadline(), "reboot", serviceid=_service(await self._existing(name)))

    async def rebuild(
        self,
        name: str,
        user_data: str,  # noqa: ARG002 - it takes none
        generation: int,
        begin_before: float | None = None,
    ) -> None:
        """Write the image over the disk unless that generation was; raises `ProviderBusy` until it is done.

        Nothing tells later whether a request was taken whose answer was lost: it is sent once more. Until one was
        answered nobody begins to install anything there, so that a second one takes nothing away.
        """
        instance, order = await self._existing(name), await self._book().load(name)
        if order is None or order.generation < generation:
            service, template = _service(instance), self._account.template
            await self._ask(Deadline(end=begin_before), "reinstall_instance", serviceid=service, template=template)
            await self._book().rebuilt(name, generation)
        elif view(instance, None).progress is None:
            return
        raise ProviderBusy(f"Hostwinds is rebuilding {name}", 5.0)

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Set the PTR; there is no documented way to take it away, and it goes with the address."""
        if hostname is None:
            return
        instance = await self._existing(name)
        await self._ask(Deadline(), "set_rdns", serviceid=_service(instance), ip=ipv4_address, rdns=hostname)

    async def prices(self) -> Sequence[Price]:
        """Return what plans cost; Hostwinds states months, and no taxes."""
        return [_price(plan) for plan in await self._plans(Deadline())]

    async def start_joining(self, name: str, address: str, program: str) -> None:
        """Have a program run on the server, as root, that makes it join."""
        order = await self._book().load(name)
        known = known_as(name, order.generation if order else 0)
        await start_joining(self._account.login, known, address, program)

    async def _send(self, deadline: Deadline, order: ServerOrder, plan: Plan, attempt: uuid.UUID) -> None:
        """Send the order; forget it again only when it was surely not taken."""
        fields: dict[str, Field] = {
            "template": self._account.template,
            "rid": plan.rid,
            "location_id": order.region,
            "qty": 1,
            "srvrname": order.name,
            "billingcycle": "monthly",
            "keys[]": [self._account.ssh_key],
        }
        try:
            await ask(self._account.access, deadline, "add_instance", **fields)
        except NotDone:
            await self._book().withdraw(order.name, attempt)
            raise
        except Refusal as refusal:
            if refusal.partly_done:
                raise ProviderBusy(
                    f"{refusal}; part of the order was taken, so the server is looked for", 15.0
                ) from None
            await self._book().withdraw(order.name, attempt)
            raise rendered(refusal) from None

    async def _refuse_ordered(self, name: str) -> None:
        """Raise when the server was ordered before, whatever became of that."""
        if (order := await self._book().load(name)) is None:
            return
        if order.ended or order.found:
            raise ProviderError(f"{name} was ordered at Hostwinds before, and is gone; ask for a new server")
        placed = f"{order.placed_at:%Y-%m-%d %H:%M} UTC"
        if order.age < _LOOKED_FOR:
            raise ProviderBusy(f"{name} was ordered at Hostwinds at {placed}; it is not listed yet", 10.0)
        raise NeedsPerson(
            f"{name} was ordered at Hostwinds at {placed} and is not listed: look in the client area for such a"
            f" server or invoice. If there is neither, say so by `penguin provider forget-order hostwinds {name}`"
        )

    async def _look_up(self, name: str) -> Mapping[str, Any] | None:
        instances = await self._ask(Deadline(), "get_instances")
        found = [each for each in instances if each.get("srvrname") == name]
        if len(found) > 1:
            raise NeedsPerson(
                f"there are {len(found)} servers {name} at Hostwinds: delete all but one in the client area"
            )
        if found and self._orders is not None:
            await self._orders.found(name)
        return found[0] if found else None

    async def _existing(self, name: str) -> Mapping[str, Any]:
        if (found := await self._look_up(name)) is None:
            raise ProviderError(f"Hostwinds has no server {name}")
        return found

    async def _switch(self, name: str, action: str, *, wanted: bool) -> None:
        instance = await self._existing(name)
        if runs(instance) is not wanted:
            await self._ask(Deadline(), action, serviceid=_service(instance))
            raise ProviderBusy(f"Hostwinds is switching {name} {'on' if wanted else 'off'}", 3.0)

    async def _plans(self, deadline: Deadline) -> Sequence[Plan]:
        return read_plans(await self._ask(deadline, "get_price_list"))

    async def _ask(self, deadline: Deadline, action: str, **fields: Field) -> Sequence[Mapping[str, Any]]:
        try:
            return await ask(self._account.access, deadline, action, **fields)
        except Refusal as refusal:
            raise rendered(refusal) from None

    def _book(self) -> Orders:
        if self._orders is None:
            raise ProviderError("this process only says what is offered")
        return self._orders


def _service(instance: Mapping[str, Any]) -> str:
    return str(instance["serviceid"])


def _price(plan: Plan) -> Price:
    hourly = (plan.monthly / _HOURS_A_MONTH).quantize(Decimal("0.0001"))
    return Price(
        what=plan.name,
        location="any",
        currency=CURRENCY,
        hourly_net=hourly,
        hourly_gross=hourly,
        monthly_net=plan.monthly,
        monthly_gross=plan.monthly,
    )
