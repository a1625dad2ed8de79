from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from control_plane.clock import boot_seconds
from control_plane.providers.base import PowerState, ProviderBusy, ProviderError, ServerOrder
from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.hetzner.ground import INSTANCE, NAME, ORDER, Ground, ground


@pytest.fixture
def here() -> Iterator[Ground]:
    with ground() as prepared:
        yield prepared


@pytest.fixture
def slow() -> Iterator[Ground]:
    with ground(action_seconds=10.0) as prepared:
        yield prepared


async def test_a_server_is_made_with_addresses_labels_firewall_and_user_data(here: Ground) -> None:
    made = await here.provider.create(ORDER)
    (server,) = here.fake.project.servers.values()
    assert (made.name, made.power, made.progress, made.fault) == (NAME, PowerState.RUNNING, None, None)
    assert (made.cores, made.memory_bytes, made.disk_bytes) == (2, 4 << 30, 40 << 30)
    assert made.monthly_cost == Decimal("5.49")
    assert server["server_type"]["name"] == "cx23"
    assert server["location"]["name"] == "fsn1"
    assert server["_user_data"] == ORDER.user_data
    assert server["labels"] == {
        "penguin/instance": INSTANCE,
        "penguin/tenant-id": "tenant-1",
        "penguin/vps-id": "vps-1",
        "penguin/generation": "0",
    }
    ips = {each["name"]: each for each in here.fake.project.primary_ips.values()}
    assert set(ips) == {f"{NAME}-ipv4", f"{NAME}-ipv6"}
    assert made.ipv4_address == ips[f"{NAME}-ipv4"]["ip"]
    assert made.ipv6_address == ips[f"{NAME}-ipv6"]["ip"].replace("::/64", "::1")
    assert {each["labels"]["penguin/vps-id"] for each in ips.values()} == {"vps-1"}
    assert {each["auto_delete"] for each in ips.values()} == {False}


async def test_the_firewall_lets_mail_policies_and_ping_in_and_nothing_else(here: Ground) -> None:
    await here.provider.create(ORDER)
    await here.provider.create(replace(ORDER, name="pm-2"))
    (firewall,) = here.fake.project.firewalls.values()
    assert firewall["name"] == f"penguin-{INSTANCE}"
    assert firewall["_servers"] == set(here.fake.project.servers)
    assert {(rule["direction"], rule["protocol"], rule["port"]) for rule in firewall["rules"]} == {
        ("in", "tcp", "25"),
        ("in", "tcp", "443"),
        ("in", "tcp", "465"),
        ("in", "tcp", "587"),
        ("in", "tcp", "993"),
        ("in", "icmp", None),
    }


async def test_a_firewall_that_somebody_changed_is_set_right_by_the_next_server(here: Ground) -> None:
    await here.provider.create(ORDER)
    (firewall,) = here.fake.project.firewalls.values()
    wanted = list(firewall["rules"])
    firewall["rules"] = wanted[:2]
    await here.provider.create(replace(ORDER, name="pm-2"))
    assert firewall["rules"] == wanted


async def test_port_80_is_open_only_for_the_server_that_gets_a_certificate(here: Ground) -> None:
    await here.provider.create(ORDER)
    await here.provider.create(replace(ORDER, name="pm-2"))
    await here.provider.open_acme(NAME)
    await here.provider.open_acme(NAME)
    (acme,) = [each for each in here.fake.project.firewalls.values() if each["name"].endswith("-acme")]
    assert [rule["port"] for rule in acme["rules"]] == ["80"]
    (first, _) = here.fake.project.servers
    assert acme["_servers"] == {first}
    await here.provider.close_acme(NAME)
    assert acme["_servers"] == set()


async def test_a_server_that_is_there_is_found_and_not_asked_for_again(here: Ground) -> None:
    first = await here.provider.create(ORDER)
    assert await here.provider.create(ORDER) == first
    assert await here.provider.find(NAME) == first
    assert here.fake.project.costs.posts == 1


async def test_nothing_is_found_where_there_is_nothing(here: Ground) -> None:
    assert await here.provider.find(NAME) is None
    assert await here.provider.list() == []


async def test_a_create_that_takes_its_time_tells_how_far_it_is_and_holds_nobody(slow: Ground) -> None:
    asked = await slow.provider.create(ORDER)
    assert asked.progress == 0
    slow.clock.seconds += 5.0
    under_way = await slow.provider.find(NAME)
    assert under_way is not None
    assert under_way.progress == 50
    slow.clock.seconds += 5.0
    made = await slow.provider.find(NAME)
    assert made is not None
    assert (made.progress, made.power) == (None, PowerState.RUNNING)


async def test_servers_of_others_in_the_project_are_neither_listed_nor_touched(here: Ground) -> None:
    await here.provider.create(ORDER)
    (server,) = here.fake.project.servers.values()
    server["labels"]["penguin/instance"] = "another.example"
    assert await here.provider.list() == []
    for call in (here.provider.find(NAME), here.provider.delete(NAME), here.provider.create(ORDER)):
        with pytest.raises(ProviderError, match="not this installation's"):
            await call
    assert len(here.fake.project.servers) == 1


async def test_all_servers_of_this_installation_are_listed_over_several_pages(here: Ground) -> None:
    names = [f"pm-{number:03}" for number in range(60)]
    for name in names:
        here.fake.project.create_server(
            {
                "name": name,
                "server_type": "cx23",
                "location": "fsn1",
                "image": "debian-12",
                "labels": {"penguin/instance": INSTANCE},
            },
            None,
        )
    assert [server.name for server in await here.provider.list()] == names


async def test_a_server_goes_with_its_addresses(slow: Ground) -> None:
    await slow.made()
    with pytest.raises(ProviderBusy, match="deleting"):
        await slow.provider.delete(NAME)
    await slow.until_done(lambda: slow.provider.delete(NAME))
    assert await slow.provider.find(NAME) is None
    assert (slow.fake.project.servers, slow.fake.project.primary_ips) == ({}, {})
    await slow.provider.delete(NAME)


async def test_a_server_that_is_being_deleted_is_not_taken_for_one_that_is_made(slow: Ground) -> None:
    await slow.made()
    with pytest.raises(ProviderBusy):
        await slow.provider.delete(NAME)
    for going in (await slow.provider.find(NAME), await slow.provider.create(ORDER)):
        assert going is not None
        assert going.fault == "it is being deleted at Hetzner"


async def test_addresses_that_were_got_for_a_server_that_never_came_are_given_back(here: Ground) -> None:
    here.fake.project.most_servers = 0
    with pytest.raises(ProviderBusy, match="server_limit"):
        await here.provider.create(ORDER)
    assert len(here.fake.project.primary_ips) == 2
    await here.provider.delete(NAME)
    assert here.fake.project.primary_ips == {}


async def test_power_is_cut_and_given(slow: Ground) -> None:
    await slow.made()
    await slow.until_done(lambda: slow.provider.power_off(NAME))
    off = await slow.provider.find(NAME)
    assert off is not None
    assert (off.power, off.progress, off.fault) == (PowerState.OFF, None, None)
    await slow.until_done(lambda: slow.provider.power_on(NAME))
    on = await slow.provider.find(NAME)
    assert on is not None
    assert on.power is PowerState.RUNNING
    asked = [seen.path.rpartition("/")[2] for seen in slow.fake.seen if "/actions/" in seen.path]
    assert asked == ["poweroff", "poweron"]


@pytest.mark.parametrize("verb", ["reboot", "reset"])
async def test_a_server_is_started_again(here: Ground, verb: str) -> None:
    await here.made()
    await getattr(here.provider, verb)(NAME)
    assert here.fake.seen[-1].path.endswith(f"/actions/{verb}")


@pytest.mark.parametrize("verb", ["power_off", "power_on", "reboot", "reset"])
async def test_what_is_not_there_cannot_be_switched(here: Ground, verb: str) -> None:
    with pytest.raises(ProviderError, match="no server"):
        await getattr(here.provider, verb)(NAME)


async def test_a_rebuilt_server_keeps_its_addresses_and_is_rebuilt_once(slow: Ground) -> None:
    before = await slow.made()
    await slow.until_done(lambda: slow.provider.rebuild(NAME, "#cloud-config\n# again\n", 1))
    after = await slow.provider.find(NAME)
    assert after is not None
    assert (after.ipv4_address, after.ipv6_address) == (before.ipv4_address, before.ipv6_address)
    (server,) = slow.fake.project.servers.values()
    assert server["_user_data"] == "#cloud-config\n# again\n"
    await slow.provider.rebuild(NAME, "#cloud-config\n# a third time\n", 1)
    assert server["_user_data"] == "#cloud-config\n# again\n"
    assert sum(seen.path.endswith("/actions/rebuild") for seen in slow.fake.seen) == 1


@pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.GATEWAY_TIMEOUT, Loss.GARBLED])
async def test_a_rebuild_whose_answer_is_lost_is_not_asked_for_again(slow: Ground, loss: Loss) -> None:
    await slow.made()
    slow.fake.script.add(Fault("POST", r"/servers/\d+/actions/rebuild", lose=loss))
    with pytest.raises(ProviderBusy, match="Hetzner"):
        await slow.provider.rebuild(NAME, "#cloud-config\n# 1\n", 1)
    await slow.until_done(lambda: slow.provider.rebuild(NAME, "#cloud-config\n# 2\n", 1))
    (server,) = slow.fake.project.servers.values()
    assert (server["status"], server["_user_data"]) == ("running", "#cloud-config\n# 1\n")
    assert sum(seen.path.endswith("/actions/rebuild") for seen in slow.fake.seen) == 1


async def test_a_worker_that_wakes_late_rebuilds_nothing(slow: Ground) -> None:
    await slow.made()
    with pytest.raises(ProviderBusy, match="took too long"):
        await slow.provider.rebuild(NAME, "#cloud-config\n", 1, boot_seconds())
    assert not any("/actions/" in seen.path for seen in slow.fake.seen)


async def test_user_data_of_more_than_32_kib_is_refused_before_anything_is_asked(here: Ground) -> None:
    with pytest.raises(ProviderError, match="32 KiB"):
        await here.provider.create(replace(ORDER, user_data="x" * 32769))
    assert here.fake.seen == []


async def test_an_invalid_label_is_refused_before_anything_costs(here: Ground) -> None:
    with pytest.raises(ProviderError, match="not correctly formatted"):
        await here.provider.create(replace(ORDER, labels=(("penguin/tenant-id", "not valid!"),)))
    assert here.fake.project.costs.posts == 0
    assert here.fake.project.primary_ips == {}


@pytest.mark.parametrize(
    ("order", "words"),
    [(replace(ORDER, size="huge"), "starter, prof"), (replace(ORDER, region="moon"), "eu, us")],
)
async def test_an_unknown_size_or_region_is_refused_with_those_there_are(
    here: Ground, order: ServerOrder, words: str
) -> None:
    with pytest.raises(ProviderError, match=words):
        await here.provider.create(order)
