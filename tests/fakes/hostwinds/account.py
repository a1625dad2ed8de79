"""One Hostwinds account: its instances, its balance, and what it was charged.

Not safe for threads by itself: the door handles one request at a time. Time is a function; what takes its time is done
once that has passed.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

#: (rid, name, ram in GB, cores, disk in GB, a month's price): made up, in the documentation's shape.
PLANS = (
    ("11", "Unmanaged 1", "1", "1", "30", "4.99"),
    ("12", "Unmanaged 2", "2", "1", "50", "9.99"),
    ("13", "Unmanaged 3", "4", "2", "75", "18.99"),
    ("14", "Unmanaged 4", "8", "4", "150", "38.99"),
    ("15", "Unmanaged 5", "16", "8", "300", "82.99"),
)


class ApiError(Exception):
    """An error entry, with its number where there is one."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Costs:
    """What the crash matrix asks for."""

    #: Names that were ordered, by requests that came in.
    asked: list[str] = field(default_factory=list)
    #: Names of servers that were charged for.
    created: list[str] = field(default_factory=list)
    charged: Decimal = Decimal(0)

    @property
    def servers_asked(self) -> int:
        """Different servers that were asked for."""
        return len(set(self.asked))

    @property
    def servers_created(self) -> int:
        """Servers that were charged for, whatever became of them."""
        return len(self.created)

    @property
    def double_charges(self) -> int:
        """Servers that were charged for again."""
        return len(self.created) - len(set(self.created))


@dataclass
class HostwindsAccount:
    """What belongs to one key. Names are not unique here: each order is charged and makes a server."""

    clock: Callable[[], float]
    #: Seconds until an order is listed, and until its server runs.
    listed_after: float = 0.0
    made_after: float = 0.0
    balance: Decimal = Decimal(1000)
    costs: Costs = field(default_factory=Costs)
    instances: list[dict[str, Any]] = field(default_factory=list)
    reverse_dns: dict[str, str] = field(default_factory=dict)
    reinstalled: int = 0
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def listed(self) -> list[dict[str, Any]]:
        """Return the instances as they are shown now."""
        return [self._shown(each) for each in self.instances if self.clock() >= each["ordered"] + self.listed_after]

    def add(self, form: dict[str, str]) -> None:
        """Charge, and make the server afterwards."""
        name = form.get("srvrname", "")
        self.costs.asked.append(name)
        plan = next((each for each in PLANS if each[0] == form.get("rid")), None)
        if plan is None or not form.get("template") or not form.get("location_id"):
            raise ApiError("template, rid and location_id are required.", "4411021")
        price = Decimal(plan[5])
        if price > self.balance:
            raise ApiError("Insufficient account balance.", "4411087")
        self.balance -= price
        self.costs.charged += price
        self.costs.created.append(name)
        number = next(self.numbers)
        self.instances.append(
            {
                "serviceid": 12000 + number,
                "srvrname": name,
                "main_ip": f"198.51.100.{number}",
                "password": "never-to-be-shown",
                "ssh_keys": [form.get("keys[]")],
                "ram": int(plan[2]) * 1024,
                "cpu": int(plan[3]),
                "disk": int(plan[4]),
                "power_state": 1,
                "ordered": self.clock(),
                "busy_until": self.clock() + self.made_after,
            }
        )

    def existing(self, form: dict[str, str]) -> dict[str, Any]:
        """Return the instance of the form's service id."""
        for instance in self.instances:
            if str(instance["serviceid"]) == form.get("serviceid"):
                return instance
        raise ApiError("A valid serviceid is required.")

    def _shown(self, instance: dict[str, Any]) -> dict[str, Any]:
        building = self.clock() < instance["busy_until"]
        state = "building" if building else "active" if instance["power_state"] == 1 else "stopped"
        shown = {key: value for key, value in instance.items() if key not in {"ordered", "busy_until"}}
        return {
            **shown,
            "main_ip": None if building else instance["main_ip"],
            "vm_state": state,
            "task_state": "spawning" if building else None,
        }
