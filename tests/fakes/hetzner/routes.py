"""The calls of the API, by method and path: each takes the project, the numbers in the path, the body and the query."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.fakes.hetzner.catalogue import LOCATIONS, pricing, server_type
from tests.fakes.hetzner.errors import ApiError, invalid, not_found, not_unique
from tests.fakes.hetzner.faults import Fault
from tests.fakes.hetzner.labels import matches
from tests.fakes.hetzner.project import Project
from tests.fakes.hetzner.shapes import IMAGES, Json, check_labels

_MOST_PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Call:
    """One request, taken apart."""

    project: Project
    numbers: Sequence[int]
    body: Json
    query: Mapping[str, list[str]]
    fault: Fault | None

    @property
    def failing(self) -> tuple[str, str] | None:
        """How the action that this call begins fails, if it does."""
        return self.fault.fail_action if self.fault is not None else None

    def asked(self, name: str) -> str | None:
        """Return a parameter of the query."""
        return self.query.get(name, [None])[0]


Answer = tuple[int, Json]


def _page(call: Call, key: str, everything: Sequence[Json]) -> Answer:
    """Return the page that was asked for, filtered by name and label as all lists can be."""
    name, selector = call.asked("name"), call.asked("label_selector")
    fitting = [
        each
        for each in everything
        if (name is None or each.get("name") == name) and matches(selector or "", each.get("labels", {}))
    ]
    page, size = int(call.asked("page") or 1), min(int(call.asked("per_page") or 25), _MOST_PER_PAGE)
    last = max((len(fitting) + size - 1) // size, 1)
    pagination = {
        "page": page,
        "per_page": size,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(fitting),
    }
    return 200, {key: fitting[(page - 1) * size : page * size], "meta": {"pagination": pagination}}


def _list_servers(call: Call) -> Answer:
    return _page(call, "servers", [call.project.show_server(each) for each in call.project.servers.values()])


def _get_server(call: Call) -> Answer:
    return 200, {"server": call.project.show_server(call.project.server(call.numbers[0]))}


def _create_server(call: Call) -> Answer:
    return 201, call.project.create_server(call.body, call.failing)


def _update_server(call: Call) -> Answer:
    server = call.project.server(call.numbers[0])
    if "labels" in call.body:
        server["labels"] = check_labels(call.body["labels"])
    return 200, {"server": call.project.show_server(server)}


def _delete_server(call: Call) -> Answer:
    server = _unlocked(call)
    return 200, {"action": call.project.show_action(call.project.delete_server(server, call.failing))}


def _server_actions(call: Call) -> Answer:
    number = call.project.server(call.numbers[0])["id"]
    return _page(call, "actions", _actions_of(call, {"id": number, "type": "server"}))


def _actions_of(call: Call, resource: Json) -> list[Json]:
    return [call.project.show_action(each) for each in call.project.actions.values() if resource in each.resources]


def _switch(command: str, before: str | None, after: str | None) -> Callable[[Call], Answer]:
    """Return the call that does `command`: the status while it is done, and after; as it was when it fails."""

    def handle(call: Call) -> Answer:
        server = _unlocked(call)
        as_it_was = _becomes(server, server["status"])
        if before is not None:
            server["status"] = before
        resource = [{"id": server["id"], "type": "server"}]
        action = call.project.act(command, resource, _becomes(server, after), call.failing, as_it_was)
        answer: Json = {"action": call.project.show_action(action)}
        if command == "rebuild_server":
            server["_user_data"] = call.body.get("user_data", server["_user_data"])
            answer["root_password"] = None
        return 201, answer

    return handle


def _becomes(server: Json, status: str | None) -> Callable[[], None]:
    def change() -> None:
        if status is not None:
            server["status"] = status

    return change


def _unlocked(call: Call) -> Json:
    server = call.project.server(call.numbers[0])
    if server["locked"]:
        raise ApiError("locked", "server is locked")
    return server


def _point_server(call: Call) -> Answer:
    server = call.project.server(call.numbers[0])
    addresses = [call.project.primary_ips[number] for number in server["_addresses"]]
    hostname = call.body.get("dns_ptr")
    if not any(_names(address, call.body["ip"]) for address in addresses):
        raise invalid("ip", "is not an address of the resource")
    resource = [{"id": server["id"], "type": "server"}]
    action = call.project.act(
        "change_dns_ptr", resource, lambda: call.project.point(addresses, call.body["ip"], hostname), call.failing
    )
    return 201, {"action": call.project.show_action(action)}


def _point_floating(call: Call) -> Answer:
    address = call.project.floating_ips.get(call.numbers[0])
    if address is None:
        raise not_found("floating_ip", call.numbers[0])
    resource = [{"id": address["id"], "type": "floating_ip"}]
    hostname = call.body.get("dns_ptr")
    action = call.project.act(
        "change_dns_ptr", resource, lambda: call.project.point([address], call.body["ip"], hostname), call.failing
    )
    return 201, {"action": call.project.show_action(action)}


def _names(address: Json, ip: str) -> bool:
    return address["ip"] == ip or (address["type"] == "ipv6" and ip.startswith(address["ip"].partition("/")[0]))


def _list_primary_ips(call: Call) -> Answer:
    ip = call.asked("ip")
    fitting = [each for each in call.project.primary_ips.values() if ip in {None, each["ip"]}]
    return _page(call, "primary_ips", copy.deepcopy(fitting))


def _create_primary_ip(call: Call) -> Answer:
    return 201, {"primary_ip": copy.deepcopy(call.project.create_primary_ip(call.body)), "action": None}


def _delete_primary_ip(call: Call) -> Answer:
    found = call.project.primary_ips.get(call.numbers[0])
    if found is None:
        raise not_found("primary_ip", call.numbers[0])
    if found["assignee_id"] is not None:
        raise ApiError("must_be_unassigned", "primary IP must be unassigned")
    del call.project.primary_ips[call.numbers[0]]
    return 204, {}


def _primary_ip(call: Call) -> Json:
    if call.numbers[0] not in call.project.primary_ips:
        raise not_found("primary_ip", call.numbers[0])
    return call.project.primary_ips[call.numbers[0]]


def _get_primary_ip(call: Call) -> Answer:
    return 200, {"primary_ip": copy.deepcopy(_primary_ip(call))}


def _update_primary_ip(call: Call) -> Answer:
    found, name = _primary_ip(call), call.body.get("name")
    if any(each["name"] == name and each is not found for each in call.project.primary_ips.values()):
        raise not_unique("primary_ip")
    found["name"] = name or found["name"]
    return _get_primary_ip(call)


def _assign_primary_ip(call: Call) -> Answer:
    found, server = _primary_ip(call), call.project.server(call.body["assignee_id"])
    if found["assignee_id"] is not None:
        raise ApiError("primary_ip_already_assigned", "primary IP is already assigned")
    return 201, _move_primary_ip(call, "assign_primary_ip", found, server, there=True)


def _unassign_primary_ip(call: Call) -> Answer:
    found = _primary_ip(call)
    if found["assignee_id"] is None:
        raise ApiError("primary_ip_not_assigned", "primary IP is not assigned")
    server = call.project.server(found["assignee_id"])
    return 201, _move_primary_ip(call, "unassign_primary_ip", found, server, there=False)


def _move_primary_ip(call: Call, command: str, address: Json, server: Json, *, there: bool) -> Json:
    """Begin to put an address of a server that is off into its place, or to take it out of there."""
    if server["status"] != "off":
        raise ApiError("server_not_stopped", "server must be stopped to change its primary IPs")
    if server["locked"]:
        raise ApiError("locked", "server is locked")
    place = 0 if address["type"] == "ipv4" else 1

    def move() -> None:
        server["_addresses"][place] = address["id"] if there else 0
        assignee = (server["id"], "server") if there else (None, "unassigned")
        address["assignee_id"], address["assignee_type"] = assignee

    resources = [{"id": address["id"], "type": "primary_ip"}, {"id": server["id"], "type": "server"}]
    return {"action": call.project.show_action(call.project.act(command, resources, move, call.failing))}


def _list_floating_ips(call: Call) -> Answer:
    return _page(call, "floating_ips", copy.deepcopy(list(call.project.floating_ips.values())))


def _create_floating_ip(call: Call) -> Answer:
    return 201, {"floating_ip": copy.deepcopy(call.project.create_floating_ip(call.body)), "action": None}


def _assign_floating_ip(call: Call) -> Answer:
    found = call.project.floating_ips.get(call.numbers[0])
    if found is None:
        raise not_found("floating_ip", call.numbers[0])
    server = call.project.server(call.body["server"])
    resources = [{"id": found["id"], "type": "floating_ip"}]
    action = call.project.act("assign_floating_ip", resources, lambda: found.update(server=server["id"]), call.failing)
    return 201, {"action": call.project.show_action(action)}


def _delete_floating_ip(call: Call) -> Answer:
    if call.project.floating_ips.pop(call.numbers[0], None) is None:
        raise not_found("floating_ip", call.numbers[0])
    return 204, {}


def _list_firewalls(call: Call) -> Answer:
    return _page(call, "firewalls", [_show_firewall(each) for each in call.project.firewalls.values()])


def _show_firewall(firewall: Json) -> Json:
    shown = {name: copy.deepcopy(value) for name, value in firewall.items() if not name.startswith("_")}
    return {
        **shown,
        "applied_to": [{"type": "server", "server": {"id": each}} for each in sorted(firewall["_servers"])],
    }


def _create_firewall(call: Call) -> Answer:
    project = call.project
    if any(each["name"] == call.body.get("name") for each in project.firewalls.values()):
        raise not_unique("firewall")
    number = project.number()
    project.firewalls[number] = {
        "id": number,
        "name": call.body["name"],
        "labels": check_labels(call.body.get("labels", {})),
        "created": project.stamp(),
        "rules": _rules(call.body),
        "_servers": set(),
    }
    return 201, {"firewall": _show_firewall(project.firewalls[number]), "actions": []}


def _firewall(call: Call) -> Json:
    if call.numbers[0] not in call.project.firewalls:
        raise not_found("firewall", call.numbers[0])
    return call.project.firewalls[call.numbers[0]]


def _set_rules(call: Call) -> Answer:
    _firewall(call)["rules"] = _rules(call.body)
    return 201, {"actions": [_firewall_action(call, "set_firewall_rules")]}


def _apply_firewall(call: Call) -> Answer:
    _firewall(call)["_servers"] |= {use["server"]["id"] for use in call.body["apply_to"]}
    return 201, {"actions": [_firewall_action(call, "apply_firewall")]}


def _remove_firewall(call: Call) -> Answer:
    _firewall(call)["_servers"] -= {use["server"]["id"] for use in call.body["remove_from"]}
    return 201, {"actions": [_firewall_action(call, "remove_firewall")]}


def _firewall_action(call: Call, command: str) -> Json:
    return call.project.show_action(call.project.act(command, [{"id": call.numbers[0], "type": "firewall"}]))


def _rules(body: Json) -> list[Json]:
    rules = []
    for rule in body.get("rules", []):
        if rule.get("protocol") not in {"tcp", "udp", "icmp", "esp", "gre"} or rule.get("direction") not in {
            "in",
            "out",
        }:
            raise invalid("rules", "is not a valid rule")
        if rule["protocol"] in {"tcp", "udp"} and not rule.get("port"):
            raise invalid("rules.port", "is required for the protocol")
        lists: Json = {"source_ips": [], "destination_ips": [], "port": None, "description": None}
        rules.append({**lists, **rule})
    return rules


def _list_types(call: Call) -> Answer:
    return _page(call, "server_types", [server_type(n, kind) for n, kind in enumerate(call.project.kinds, start=1)])


def _list_locations(call: Call) -> Answer:
    return _page(call, "locations", copy.deepcopy(LOCATIONS))


def _list_images(call: Call) -> Answer:
    return _page(call, "images", [{"id": n, "name": name} for n, name in enumerate(IMAGES, start=1)])


def _pricing(call: Call) -> Answer:
    return 200, pricing(call.project.kinds)


def _list_actions(call: Call) -> Answer:
    wanted = {int(number) for number in call.query.get("id", [])}
    shown = [
        call.project.show_action(each) for each in call.project.actions.values() if each.id in wanted or not wanted
    ]
    return _page(call, "actions", shown)


def _get_action(call: Call) -> Answer:
    if call.numbers[0] not in call.project.actions:
        raise not_found("action", call.numbers[0])
    return 200, {"action": call.project.show_action(call.project.actions[call.numbers[0]])}


def _datacenters_are_gone(_: Call) -> Answer:
    announcement = "https://docs.hetzner.cloud/changelog#2026-06-02-datacenters-deprecated"
    raise ApiError("deprecated_api_endpoint", "API functionality was removed", {"announcement": announcement})


_N = r"(\d+)"
ROUTES: Sequence[tuple[str, str, Callable[[Call], Answer]]] = (
    ("GET", "/servers", _list_servers),
    ("POST", "/servers", _create_server),
    ("GET", f"/servers/{_N}", _get_server),
    ("PUT", f"/servers/{_N}", _update_server),
    ("DELETE", f"/servers/{_N}", _delete_server),
    ("GET", f"/servers/{_N}/actions", _server_actions),
    ("POST", f"/servers/{_N}/actions/poweroff", _switch("stop_server", "stopping", "off")),
    ("POST", f"/servers/{_N}/actions/poweron", _switch("start_server", "starting", "running")),
    ("POST", f"/servers/{_N}/actions/reboot", _switch("reboot_server", None, None)),
    ("POST", f"/servers/{_N}/actions/reset", _switch("reset_server", None, None)),
    ("POST", f"/servers/{_N}/actions/rebuild", _switch("rebuild_server", "rebuilding", "running")),
    ("POST", f"/servers/{_N}/actions/change_dns_ptr", _point_server),
    ("GET", "/primary_ips", _list_primary_ips),
    ("POST", "/primary_ips", _create_primary_ip),
    ("GET", f"/primary_ips/{_N}", _get_primary_ip),
    ("PUT", f"/primary_ips/{_N}", _update_primary_ip),
    ("DELETE", f"/primary_ips/{_N}", _delete_primary_ip),
    ("POST", f"/primary_ips/{_N}/actions/assign", _assign_primary_ip),
    ("POST", f"/primary_ips/{_N}/actions/unassign", _unassign_primary_ip),
    ("GET", "/floating_ips", _list_floating_ips),
    ("POST", "/floating_ips", _create_floating_ip),
    ("DELETE", f"/floating_ips/{_N}", _delete_floating_ip),
    ("POST", f"/floating_ips/{_N}/actions/assign", _assign_floating_ip),
    ("POST", f"/floating_ips/{_N}/actions/change_dns_ptr", _point_floating),
    ("GET", "/firewalls", _list_firewalls),
    ("POST", "/firewalls", _create_firewall),
    ("POST", f"/firewalls/{_N}/actions/set_rules", _set_rules),
    ("POST", f"/firewalls/{_N}/actions/apply_to_resources", _apply_firewall),
    ("POST", f"/firewalls/{_N}/actions/remove_from_resources", _remove_firewall),
    ("GET", "/server_types", _list_types),
    ("GET", "/locations", _list_locations),
    ("GET", "/images", _list_images),
    ("GET", "/pricing", _pricing),
    ("GET", "/actions", _list_actions),
    ("GET", f"/actions/{_N}", _get_action),
    ("GET", "/datacenters", _datacenters_are_gone),
)


def route(method: str, path: str) -> tuple[Callable[[Call], Answer], Sequence[int]]:
    """Return the call and the numbers in the path; raise not_found or method_not_allowed."""
    methods = set()
    for known, pattern, handler in ROUTES:
        if (found := re.fullmatch(pattern, path)) is not None:
            if known == method:
                return handler, [int(number) for number in found.groups()]
            methods.add(known)
    raise ApiError("method_not_allowed" if methods else "not_found")
