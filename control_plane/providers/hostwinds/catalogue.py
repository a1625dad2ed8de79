"""Which plan a size becomes, and what may be spent: pure, from Hostwinds' price list and what the operator allows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from control_plane.providers.base import SIZES, NoCapacity, ProviderError

CURRENCY = "USD"
_GIB = 1024**3
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Plan:
    """One line of the price list; `rid` is what an order names."""

    rid: str
    name: str
    cores: int
    memory_bytes: int
    disk_bytes: int
    monthly: Decimal


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be spent, in US dollars a month; nothing without `opted_in`."""

    opted_in: bool
    per_server: Decimal
    in_all: Decimal

    def check_plan(self, plan: Plan) -> None:
        """Raise `ProviderError` unless this may be ordered, as far as the plan alone says."""
        if not self.opted_in:
            raise ProviderError(
                "Hostwinds charges for a server at once, so nothing is ordered before PENGUIN_HOSTWINDS_SPENDING=true"
                " allows it"
            )
        if plan.monthly > self.per_server:
            raise ProviderError(
                f"the plan {plan.name} costs {plan.monthly} {CURRENCY} a month, more than a server may"
                f" ({self.per_server}, PENGUIN_HOSTWINDS_MOST_PER_SERVER)"
            )

    def check_sum(self, monthly: Decimal) -> None:
        """Raise `ProviderError` when all servers together would cost more than they may."""
        if monthly > self.in_all:
            raise ProviderError(
                f"with this server all of them would cost {monthly} {CURRENCY} a month, more than they may"
                f" ({self.in_all}, PENGUIN_HOSTWINDS_MOST_IN_ALL)"
            )


def read_plans(price_list: Iterable[Mapping[str, Any]]) -> Sequence[Plan]:
    """Return the plans that can be read, cheapest first; one that cannot is not offered."""
    plans = [plan for entry in price_list if (plan := _read(entry)) is not None]
    return sorted(plans, key=lambda plan: (plan.monthly, plan.rid))


def choose(size: str, plans: Iterable[Plan]) -> Plan:
    """Return the cheapest plan that is at least the size; raise `ProviderError`."""
    if (least := SIZES.get(size)) is None:
        raise ProviderError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    for plan in plans:
        if (
            plan.cores >= least.cores
            and plan.memory_bytes >= least.memory_bytes
            and plan.disk_bytes >= least.disk_bytes
        ):
            return plan
    raise NoCapacity(f"no plan of Hostwinds' is at least of size {size}")


def _read(entry: Mapping[str, Any]) -> Plan | None:
    """Read one line; prices are text, in which no sum is free."""
    numbers = {key: _number(entry.get(key)) for key in ("ram", "cpu", "disk", "monthly")}
    rid = entry.get("rid") or entry.get("id")
    if not rid or any(number is None or number <= 0 for number in numbers.values()):
        return None
    found = {key: number for key, number in numbers.items() if number is not None}
    return Plan(
        rid=str(rid),
        name=str(entry.get("name") or rid)[:100],
        cores=int(found["cpu"]),
        memory_bytes=_memory(found["ram"]),
        disk_bytes=int(found["disk"]) * _GIB,
        monthly=found["monthly"],
    )


def _memory(said: Decimal) -> int:
    """Return bytes: the documentation shows GB in prices and MB in instances, and no server has 256 GB or 256 MB."""
    return int(said * _GIB) if said < 256 else int(said) * 1024**2


def _number(value: object) -> Decimal | None:
    found = _NUMBER.search(str(value).replace(",", "")) if value is not None else None
    try:
        return Decimal(found[0]) if found else None
    except InvalidOperation:
        return None
