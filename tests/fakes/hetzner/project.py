"""One Hetzner project: its servers, addresses, firewalls and actions, and what they have cost.

Not safe for threads by itself: the door (`door.py`) handles one request at a time. Time is a function, so that a test
can let actions take as long as it likes; what an action brings about happens when it ends.
"""

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.fakes.hetzner.catalogue import KINDS, Kind, location, server_type
from tests.fakes.hetzner.errors import ApiError, invalid, not_found, not_unique
from tests.fakes.hetzner.shapes import (
    IMAGES,
    Json,
    address_of,
    check_labels,
    default_ptr,
    inside,
    known_place,
    ptr_of,
    show_image,
)

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


@dataclass
class Action:
    """`then` is what it brings about; `error` is how it fails instead, which brings about `otherwise`."""

    id: int
    command: str
    started: float
    ends: float
    resources: list[Json]
    then: Callable[[], None] | None = None
    error: tuple[str, str] | None = None
    otherwise: Callable[[], None] | None = None
    over: bool = False


@dataclass
class Costs:
    """What the crash matrix asks for."""

    #: POSTs of servers that came in, and the names they asked for.
    posts: int = 0
    asked: list[str] = field(default_factory=list)
    #: Servers that were made, by name, each charged for at once.
    created: list[str] = field(default_factory=list)
    #: The `penguin/vps-id` of each server that was made.
    made_for: list[str] = field(default_factory=list)

    @property
    def servers_asked(self) -> int:
        """Different servers that were asked for."""
        return len(set(self.asked))

    @property
    def servers_created(self) -> int:
        """Servers that were made, whatever became of them."""
        return len(self.created)

    @property
    def double_charges(self) -> int:
        """Servers that were made for a VPS that had had one before."""
        return len(self.made_for) - len(set(self.made_for))


class Project:
    """What belongs to one token."""

    def __init__(self, clock: Callable[[], float], action_seconds: float, kinds: Sequence[Kind] = KINDS) -> None:
        self._clock = clock
        self.action_seconds = action_seconds
        self.kinds = list(kinds)
        #: (type, location) that the catalogue calls available and that are not to be had all the same.
        self.sold_out: set[tuple[str, str]] = set()
        self.most_servers = 1000
        self.most_primary_ips = 1000
        self.servers: dict[int, Json] = {}
        self.primary_ips: dict[int, Json] = {}
        self.floating_ips: dict[int, Json] = {}
        self.firewalls: dict[int, Json] = {}
        self.actions: dict[int, Action] = {}
        self.costs = Costs()
        self._last = 0

    # ------------------------------------------------------------ time

    def settle(self) -> None:
        """Let end what has had its time."""
        for action in sorted(self.actions.values(), key=lambda each: (each.ends, each.id)):
            if not action.over and action.ends <= self._clock():
                action.over = True
                comes_to = action.then if action.error is None else action.otherwise
                if comes_to is not None:
                    comes_to()
                self._unlock(action)

    def act(
        self,
        command: str,
        resources: list[Json],
        then: Callable[[], None] | None = None,
        error: tuple[str, str] | None = None,
        otherwise: Callable[[], None] | None = None,
    ) -> Action:
        """Begin an action; its servers are locked until it ends."""
        now = self._clock()
        action = Action(self.number(), command, now, now + self.action_seconds, resources, then, error, otherwise)
        self.actions[action.id] = action
        for resource in resources:
            if resource["type"] == "server" and resource["id"] in self.servers:
                self.servers[resource["id"]]["locked"] = True
        self.settle()
        return action

    def _unlock(self, action: Action) -> None:
        for resource in action.resources:
            busy = any(resource in each.resources for each in self.actions.values() if not each.over)
            if resource["type"] == "server" and resource["id"] in self.servers and not busy:
                self.servers[resource["id"]]["locked"] = False

    def number(self) -> int:
        """Return an id that nothing had before."""
        self._last += 1
        return self._last

    def stamp(self, seconds: float | None = None) -> str:
        """Return a moment as the API writes it."""
        return datetime.fromtimestamp(self._clock() if seconds is None else seconds, UTC).isoformat()

    def show_action(self, action: Action) -> Json:
        """Return an action as the API shows it."""
        passed = (self._clock() - action.started) / max(action.ends - action.started, 1e-9)
        status = "running" if not action.over else ("error" if action.error else "success")
        failed = {"code": action.error[0], "message": action.error[1]} if action.over and action.error else None
        return {
            "id": action.id,
            "command": action.command,
            "status": status,
            "progress": 100 if action.over else min(int(passed * 100), 99),
            "started": self.stamp(action.started),
            "finished": self.stamp(action.ends) if action.over else None,
            "resources": action.resources,
            "error": failed,
        }

    # ------------------------------------------------------------ servers

    def server(self, number: int) -> Json:
        """Return a server; raise not_found when there is none."""
        if number not in self.servers:
            raise not_found("server", number)
        return self.servers[number]

    def show_server(self, server: Json) -> Json:
        """Return a server as the API shows it, its addresses as they are now."""
        shown = copy.deepcopy({name: value for name, value in server.items() if not name.startswith("_")})
        ipv4, ipv6 = (self.primary_ips.get(number) for number in server["_addresses"])
        shown["public_net"] = {
            "ipv4": ipv4 and {"id": ipv4["id"], "ip": ipv4["ip"], "blocked": False, "dns_ptr": ptr_of(ipv4)},
            "ipv6": ipv6 and {"id": ipv6["id"], "ip": ipv6["ip"], "blocked": False, "dns_ptr": list(ipv6["dns_ptr"])},
            "floating_ips": [each["id"] for each in self.floating_ips.values() if each["server"] == server["id"]],
            "firewalls": [
                {"id": firewall["id"], "status": "applied"}
                for firewall in self.firewalls.values()
                if server["id"] in firewall["_servers"]
            ],
        }
        return shown

    def create_server(self, body: Json, error: tuple[str, str] | None) -> Json:
        """Make a server and charge for it."""
        self.costs.posts += 1
        name = body.get("name", "")
        if isinstance(name, str) and name:
            self.costs.asked.append(name)
        kind, place, addresses = self._check_server(body)
        number = self.number()
        server = {
            "id": number,
            "name": name,
            "status": "initializing",
            "created": self.stamp(),
            "server_type": server_type(self.kinds.index(kind) + 1, kind),
            "location": location(place),
            "image": show_image(body["image"]),
            "iso": None,
            "rescue_enabled": False,
            "locked": False,
            "backup_window": None,
            "outgoing_traffic": 0,
            "ingoing_traffic": 0,
            "included_traffic": 20 * 1024**4,
            "protection": {"delete": False, "rebuild": False},
            "labels": check_labels(body.get("labels", {})),
            "volumes": [],
            "private_net": [],
            "load_balancers": [],
            "primary_disk_size": kind.disk_gb,
            "placement_group": None,
            "_addresses": addresses,
            "_user_data": body.get("user_data"),
        }
        self.servers[number] = server
        for address in addresses:
            self.primary_ips[address].update(assignee_id=number, assignee_type="server")
        for wanted in body.get("firewalls", []):
            self.firewalls[wanted["firewall"]]["_servers"].add(number)
        self.costs.created.append(name)
        self.costs.made_for.append(server["labels"].get("penguin/vps-id", name))
        made = self.act("create_server", _resource("server", number), lambda: self._start(server), error)
        starting = self.act("start_server", _resource("server", number), None, error)
        return {
            "server": self.show_server(server),
            "action": self.show_action(made),
            "next_actions": [self.show_action(starting)],
            "root_password": "YItygq1v3GYjjMomLaKc",
        }

    def _start(self, server: Json) -> None:
        server["status"] = "running"

    def _check_server(self, body: Json) -> tuple[Kind, str, list[int]]:
        name, user_data = body.get("name"), body.get("user_data")
        if not isinstance(name, str) or not _HOSTNAME.fullmatch(name):
            raise invalid("name", "must be a valid hostname")
        if any(each["name"] == name for each in self.servers.values()):
            raise not_unique("server")
        if user_data is not None and len(user_data.encode()) > 32768:
            raise invalid("user_data", "is too long")
        if body.get("image") not in IMAGES:
            raise invalid("image", "image not found")
        if len(self.servers) >= self.most_servers:
            raise ApiError("resource_limit_exceeded", "server limit exceeded", {"limits": [{"name": "server_limit"}]})
        asked, place = body.get("server_type"), known_place(body.get("location"))
        kind = next((each for n, each in enumerate(self.kinds, start=1) if asked in {each.name, n, str(n)}), None)
        if kind is None:
            raise invalid("server_type", "server type not found")
        if place not in kind.locations:
            raise invalid("location", "unsupported location for server type")
        if place in kind.unavailable or place in kind.deprecated or (kind.name, place) in self.sold_out:
            raise ApiError("resource_unavailable", "error during placement")
        return kind, place, self._check_addresses(body.get("public_net") or {}, place, name)

    def _check_addresses(self, public: Json, place: str, name: str) -> list[int]:
        chosen = []
        for family in ("ipv4", "ipv6"):
            number = public.get(family)
            if number is None:
                number = self.create_primary_ip({"type": family, "name": f"{name}-own-{family}", "location": place})[
                    "id"
                ]
            found = self.primary_ips.get(number)
            if found is None:
                raise not_found("primary_ip", number)
            if found["assignee_id"] is not None:
                raise invalid(f"public_net.{family}", "primary IP is already assigned")
            if found["location"]["name"] != place:
                raise invalid(f"public_net.{family}", "primary IP is in another location")
            chosen.append(number)
        return chosen

    def delete_server(self, server: Json, error: tuple[str, str] | None) -> Action:
        """Delete a server; its addresses are free afterwards."""
        server["status"] = "deleting"
        return self.act("delete_server", _resource("server", server["id"]), lambda: self._gone(server), error)

    def _gone(self, server: Json) -> None:
        self.servers.pop(server["id"], None)
        for address in server["_addresses"]:
            if address in self.primary_ips:
                self.primary_ips[address].update(assignee_id=None, assignee_type="unassigned")
        for firewall in self.firewalls.values():
            firewall["_servers"].discard(server["id"])
        for floating in self.floating_ips.values():
            if floating["server"] == server["id"]:
                floating["server"] = None

    def orphans(self, known: set[str]) -> list[str]:
        """Return the names of servers that were made for none of the known VPS ids."""
        return [each["name"] for each in self.servers.values() if each["labels"].get("penguin/vps-id") not in known]

    # ------------------------------------------------------------ addresses

    def create_primary_ip(self, body: Json) -> Json:
        """Get an address."""
        if any(each["name"] == body.get("name") for each in self.primary_ips.values()):
            raise not_unique("primary_ip")
        if len(self.primary_ips) >= self.most_primary_ips:
            details = {"limits": [{"name": "primary_ip_limit"}]}
            raise ApiError("resource_limit_exceeded", "primary IP limit exceeded", details)
        number = self.number()
        ip = address_of(number) if body.get("type") == "ipv4" else f"2001:db8:{number:x}::/64"
        made = {
            "id": number,
            "name": body["name"],
            "type": body["type"],
            "ip": ip,
            "location": location(known_place(body.get("location"))),
            "assignee_id": None,
            "assignee_type": "unassigned",
            "auto_delete": body.get("auto_delete", False),
            "blocked": False,
            "created": self.stamp(),
            "labels": check_labels(body.get("labels", {})),
            "protection": {"delete": False},
            "dns_ptr": [{"ip": ip, "dns_ptr": default_ptr(ip)}] if body["type"] == "ipv4" else [],
        }
        self.primary_ips[number] = made
        return made

    def create_floating_ip(self, body: Json) -> Json:
        """Get a floating address."""
        if any(each["name"] == body.get("name") for each in self.floating_ips.values()):
            raise not_unique("floating_ip")
        number = self.number()
        ip = address_of(number)
        made = {
            "id": number,
            "name": body.get("name", f"floating-{number}"),
            "description": body.get("description"),
            "type": body["type"],
            "ip": ip,
            "server": body.get("server"),
            "home_location": location(known_place(body.get("home_location"))),
            "blocked": False,
            "created": self.stamp(),
            "labels": check_labels(body.get("labels", {})),
            "protection": {"delete": False},
            "dns_ptr": [{"ip": ip, "dns_ptr": default_ptr(ip)}],
        }
        self.floating_ips[number] = made
        return made

    def point(self, addresses: Sequence[Json], ip: str, hostname: str | None) -> None:
        """Set the PTR of one address, in the network or list of those given."""
        for address in addresses:
            if address["type"] == "ipv4" and address["ip"] == ip:
                address["dns_ptr"] = [{"ip": ip, "dns_ptr": hostname or default_ptr(ip)}]
                return
            if address["type"] == "ipv6" and inside(ip, address["ip"]):
                others = [each for each in address["dns_ptr"] if each["ip"] != ip]
                address["dns_ptr"] = [*others, *([{"ip": ip, "dns_ptr": hostname}] if hostname else [])]
                return
        raise invalid("ip", "is not an address of the resource")


def _resource(kind: str, number: int) -> list[Json]:
    return [{"id": number, "type": kind}]
