"""The fake itself, spoken to as any client would, so that what is proved with it means something."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.hetzner.door import FakeHetzner, running_hetzner
from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.hetzner.ground import FakeClock

SERVER = {"name": "pm-1", "server_type": "cx23", "location": "fsn1", "image": "debian-12"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeHetzner]:
    with running_hetzner(action_seconds=10.0, clock=clock) as running:
        yield running


@pytest.fixture
def client(fake: FakeHetzner) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {fake.token}"}
    with httpx.Client(base_url=fake.url, headers=headers, trust_env=False, timeout=5.0) as opened:
        yield opened


def code(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()["error"]
    assert set(body) == {"code", "message", "details"}
    return answer.status_code, body["code"]


def test_a_name_is_there_once(client: httpx.Client, fake: FakeHetzner) -> None:
    assert client.post("/servers", json=SERVER).status_code == 201
    assert code(client.post("/servers", json=SERVER)) == (409, "uniqueness_error")
    assert (fake.project.costs.posts, fake.project.costs.servers_asked, fake.project.costs.servers_created) == (2, 1, 1)


def test_a_second_server_for_a_vps_is_a_double_charge(client: httpx.Client, fake: FakeHetzner) -> None:
    for name in ("pm-1", "pm-2"):
        client.post("/servers", json={**SERVER, "name": name, "labels": {"penguin/vps-id": "vps-1"}})
    assert fake.project.costs.double_charges == 1
    assert fake.project.orphans(known=set()) == ["pm-1", "pm-2"]
    assert fake.project.orphans(known={"vps-1"}) == []


def test_an_action_takes_its_time_and_locks_the_server(client: httpx.Client, clock: FakeClock) -> None:
    made = client.post("/servers", json=SERVER).json()
    number, action = made["server"]["id"], made["action"]["id"]
    assert (made["server"]["status"], made["action"]["status"]) == ("initializing", "running")
    assert code(client.post(f"/servers/{number}/actions/poweroff")) == (423, "locked")
    clock.seconds += 5.0
    assert client.get(f"/actions/{action}").json()["action"]["progress"] == 50
    clock.seconds += 5.0
    assert client.get(f"/actions/{action}").json()["action"]["status"] == "success"
    server = client.get(f"/servers/{number}").json()["server"]
    assert (server["status"], server["locked"]) == ("running", False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "not a hostname"}, (422, "invalid_input")),
        ({"server_type": "cx22"}, (422, "invalid_input")),
        ({"location": "ash"}, (422, "invalid_input")),
        ({"image": "windows"}, (422, "invalid_input")),
        ({"user_data": "x" * 32769}, (422, "invalid_input")),
        ({"labels": {"hetzner.cloud/x": "y"}}, (422, "invalid_input")),
        ({"labels": {"x": "not valid!"}}, (422, "invalid_input")),
        ({"public_net": {"ipv4": 999}}, (404, "not_found")),
        ({"server_type": "cpx11"}, (412, "resource_unavailable")),
    ],
)
def test_what_the_api_refuses_is_refused_and_makes_nothing(
    client: httpx.Client, fake: FakeHetzner, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert code(client.post("/servers", json={**SERVER, **change})) == expected
    assert fake.project.servers == {}
    assert fake.project.costs.servers_created == 0


def test_an_assigned_address_cannot_be_deleted(client: httpx.Client, clock: FakeClock) -> None:
    server = client.post("/servers", json=SERVER).json()["server"]
    address = server["public_net"]["ipv4"]["id"]
    assert code(client.delete(f"/primary_ips/{address}")) == (422, "must_be_unassigned")
    clock.seconds += 10.0
    client.delete(f"/servers/{server['id']}")
    clock.seconds += 10.0
    shown = client.get("/primary_ips", params={"ip": server["public_net"]["ipv4"]["ip"]}).json()["primary_ips"]
    assert {each["assignee_type"] for each in shown} == {"unassigned"}
    assert client.delete(f"/primary_ips/{address}").status_code == 204


def test_a_wrong_token_opens_nothing_and_one_that_reads_changes_nothing(fake: FakeHetzner) -> None:
    fake.read_only_tokens.add("reader")
    for token, method, expected in (("wrong", "GET", "unauthorized"), ("reader", "POST", "token_readonly")):
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{fake.url}/servers", json=SERVER, headers=headers, trust_env=False)
        assert code(answer) == (401, expected)
    assert fake.project.servers == {}


def test_the_rate_limit_is_told_kept_and_fills_again(client: httpx.Client, fake: FakeHetzner, clock: FakeClock) -> None:
    fake.limit.remaining, fake.limit.at = 2.0, clock()
    remaining = [client.get("/locations").headers["RateLimit-Remaining"] for _ in range(2)]
    assert remaining == ["1", "0"]
    refused = client.get("/locations")
    assert code(refused) == (429, "rate_limit_exceeded")
    assert refused.headers["RateLimit-Limit"] == "3600"
    assert int(refused.headers["RateLimit-Reset"]) == int(clock() + 3600)
    clock.seconds += 1.0
    assert client.get("/locations").status_code == 200


def test_lists_come_in_pages(client: httpx.Client) -> None:
    first = client.get("/locations", params={"per_page": 4}).json()
    assert [each["name"] for each in first["locations"]] == ["fsn1", "nbg1", "hel1", "ash"]
    assert first["meta"]["pagination"] == {
        "page": 1,
        "per_page": 4,
        "previous_page": None,
        "next_page": 2,
        "last_page": 2,
        "total_entries": 6,
    }
    second = client.get("/locations", params={"per_page": 4, "page": 2}).json()
    assert [each["name"] for each in second["locations"]] == ["hil", "sin"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", ["a", "b", "c"]),
        ("env=x", ["a"]),
        ("env==x", ["a"]),
        ("env!=x", ["b", "c"]),
        ("env", ["a", "b"]),
        ("!env", ["c"]),
        ("env in (x,y)", ["a", "b"]),
        ("env notin (x, z)", ["b", "c"]),
        ("env,p/q=1", ["b"]),
    ],
)
def test_label_selectors_choose(client: httpx.Client, selector: str, names: list[str]) -> None:
    for name, labels in {"a": {"env": "x"}, "b": {"env": "y", "p/q": "1"}, "c": {}}.items():
        client.post("/servers", json={**SERVER, "name": name, "labels": labels})
    shown = client.get("/servers", params={"label_selector": selector}).json()["servers"]
    assert [each["name"] for each in shown] == names


def test_a_selector_that_is_none_is_refused(client: httpx.Client, fake: FakeHetzner) -> None:
    client.post("/servers", json=SERVER)
    assert code(client.get("/servers", params={"label_selector": "in (a"})) == (422, "invalid_input")


@pytest.mark.parametrize(("loss", "status"), [(Loss.GATEWAY_TIMEOUT, 504), (Loss.GARBLED, 200), (Loss.CLOSED, None)])
def test_an_answer_is_lost_after_the_deed(
    client: httpx.Client, fake: FakeHetzner, loss: Loss, status: int | None
) -> None:
    fake.script.add(Fault("POST", "/servers", lose=loss))
    if status is None:
        with pytest.raises(httpx.TransportError):
            client.post("/servers", json=SERVER)
    else:
        answer = client.post("/servers", json=SERVER)
        assert answer.status_code == status
        with pytest.raises(ValueError, match="Expecting value"):
            answer.json()
    assert [each["name"] for each in fake.project.servers.values()] == ["pm-1"]


def test_a_fault_happens_as_often_as_it_says_and_to_what_it_fits(client: httpx.Client, fake: FakeHetzner) -> None:
    fake.script.add(Fault("POST", "/servers", refuse="maintenance", holding={"name": "pm-2"}, times=2))
    answers = [client.post("/servers", json={**SERVER, "name": name}) for name in ("pm-1", "pm-2", "pm-2", "pm-2")]
    assert [answer.status_code for answer in answers] == [201, 403, 403, 201]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not_found")),
        ("PATCH", "/servers", (501, "")),
        ("DELETE", "/servers", (405, "method_not_allowed")),
        ("GET", "/servers/77", (404, "not_found")),
        ("GET", "/datacenters", (410, "deprecated_api_endpoint")),
    ],
)
def test_what_is_not_there_is_said_to_be_so(
    client: httpx.Client, method: str, path: str, expected: tuple[int, str]
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"] if expected[1] else "") == expected
