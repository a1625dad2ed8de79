"""Real servers of the local provider: as a cloud would make them, and gone without a trace. Needs root."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from control_plane.providers.base import PowerState, ProviderBusy, ProviderError
from control_plane.providers.local.machine import machine_shell
from control_plane.providers.local.record import load_leader, servers_dir
from tests.flow.local_cloud import LocalCloud, host_route_to, order, until

USER_DATA = """\
#cloud-config
hostname: mx1
ssh_authorized_keys:
- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq operator
write_files:
- path: /etc/penguin/agent.json
  permissions: "0600"
  content: '{"join_token": "secret"}'
runcmd:
- [systemd-run, --wait, touch, /srv/command-ran]
"""


@pytest_asyncio.fixture(scope="module")
async def cloud(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCloud]:
    cloud = LocalCloud(tmp_path_factory.mktemp("a b,c:d"))
    try:
        await cloud.open()
        await cloud.provider.create(order("mx1", USER_DATA))
        await cloud.settled("mx1")
        yield cloud
    finally:
        cloud.close()


async def address_of(cloud: LocalCloud, name: str) -> str:
    server = await cloud.provider.find(name)
    assert server is not None
    return server.ipv4_address


async def test_cloud_init_does_what_the_order_says(cloud: LocalCloud) -> None:
    assert cloud.inside("mx1", "cat", "/etc/penguin/agent.json").stdout == '{"join_token": "secret"}'
    assert cloud.inside("mx1", "stat", "-c", "%a", "/etc/penguin/agent.json").stdout == "600\n"
    assert cloud.inside("mx1", "test", "-e", "/srv/command-ran").returncode == 0
    assert "operator" in cloud.inside("mx1", "cat", "/root/.ssh/authorized_keys").stdout


async def test_a_server_is_a_whole_system_of_its_own(cloud: LocalCloud) -> None:
    assert cloud.inside("mx1", "systemctl", "is-system-running", "--wait").stdout == "running\n"
    assert cloud.inside("mx1", "hostname", "--fqdn").stdout == "mx1.penguin.example\n"
    assert cloud.inside("mx1", "ps", "-p", "1", "-o", "comm=").stdout == "systemd\n"
    assert "No such file" in cloud.inside("mx1", "ls", str(cloud.state_dir)).stderr


async def test_user_data_is_readable_by_root_only(cloud: LocalCloud) -> None:
    seed = "/var/lib/cloud/seed/nocloud"
    assert cloud.inside("mx1", "stat", "-c", "%a", seed, f"{seed}/user-data").stdout == "700\n600\n"


async def test_reverse_dns_is_set_and_removed_and_a_name_nobody_published_is_not_there(cloud: LocalCloud) -> None:
    address = await address_of(cloud, "mx1")
    await cloud.provider.set_reverse_dns("mx1", address, "mx1.penguin.example")
    assert cloud.inside("mx1", "dig", "+short", "-x", address).stdout == "mx1.penguin.example.\n"
    await cloud.provider.set_reverse_dns("mx1", address, None)
    assert "status: NXDOMAIN" in cloud.inside("mx1", "dig", "-x", address).stdout
    assert "status: NXDOMAIN" in cloud.inside("mx1", "dig", "nobody.example").stdout
    with pytest.raises(ProviderError, match="not an address of server"):
        await cloud.provider.set_reverse_dns("mx1", "10.77.0.1", "evil.example")


async def test_a_reboot_comes_back_on_the_same_disk(cloud: LocalCloud) -> None:
    folder = servers_dir(cloud.world.directory) / "mx1"
    before = load_leader(folder)
    cloud.inside("mx1", "touch", "/var/lib/before-reboot")
    await cloud.provider.reboot("mx1")
    await until(lambda: not before.is_alive())
    await until(lambda: cloud.connects("10.77.1.1"))
    assert load_leader(folder) != before
    assert cloud.inside("mx1", "test", "-e", "/var/lib/before-reboot").returncode == 0


async def test_a_reboot_from_inside_comes_back(cloud: LocalCloud) -> None:
    before = load_leader(servers_dir(cloud.world.directory) / "mx1")
    cloud.inside("mx1", "systemctl", "reboot")
    await until(lambda: not before.is_alive())
    await until(lambda: cloud.connects("10.77.1.1"))


async def test_a_power_cut_keeps_the_disk(cloud: LocalCloud) -> None:
    cloud.inside("mx1", "touch", "/root/before-power-cut")
    await cloud.provider.power_off("mx1")
    server = await cloud.provider.find("mx1")
    assert server is not None
    assert server.power is PowerState.OFF
    assert not cloud.connects(server.ipv4_address)
    with pytest.raises(ProviderError, match="does not run"):
        machine_shell(cloud.state_dir, "mx1")
    with pytest.raises(ProviderError, match="is off"):
        await cloud.provider.reboot("mx1")
    await cloud.provider.power_on("mx1")
    await until(lambda: cloud.connects(server.ipv4_address))
    assert cloud.inside("mx1", "test", "-e", "/root/before-power-cut").returncode == 0


async def test_a_pulled_cable_makes_a_server_unreachable_until_it_is_plugged_in(cloud: LocalCloud) -> None:
    address = await address_of(cloud, "mx1")
    await cloud.provider.cut_network("mx1")
    assert not cloud.connects(address)
    assert cloud.inside("mx1", "true").returncode == 0
    await cloud.provider.restore_network("mx1")
    await until(lambda: cloud.connects(address))


async def test_the_host_refuses_the_worlds_addresses_at_once(cloud: LocalCloud) -> None:
    assert host_route_to("10.77.0.1").strip() == "RTNETLINK answers: No route to host"
    assert cloud.routes() == ["unreachable 10.77.0.0/16 "]


async def test_the_world_has_no_way_out(cloud: LocalCloud) -> None:
    assert cloud.world_routes() == ["10.77.0.0/16"]


async def test_wrong_orders_are_refused_with_the_reason(cloud: LocalCloud) -> None:
    with pytest.raises(ProviderError, match="exists already"):
        await cloud.provider.create(order("mx1"))
    with pytest.raises(ProviderError, match="there is no server named"):
        await cloud.provider.power_on("nobody")
    assert await cloud.provider.find("nobody") is None
    await cloud.provider.delete("nobody")
    assert [server.name for server in await cloud.provider.list()] == ["mx1"]


async def test_several_are_made_side_by_side_and_deleted_without_a_trace(cloud: LocalCloud) -> None:
    before = cloud.traces()
    servers = await asyncio.gather(*(cloud.provider.create(order(name)) for name in ("mx2", "mx3", "mx4")))
    assert len({server.ipv4_address for server in servers}) == 3
    assert {server.power for server in servers} == {PowerState.RUNNING}
    await until(lambda: all(cloud.connects(server.ipv4_address) for server in servers))
    await asyncio.gather(*(cloud.provider.delete(server.name) for server in servers))
    after = cloud.traces()
    assert {key: after[key] for key in after if key != "processes"} == {
        key: before[key] for key in before if key != "processes"
    }
    assert [each.name for each in servers_dir(cloud.world.directory).iterdir()] == ["mx1"]


async def test_a_deleted_servers_name_and_address_can_be_had_again_at_once(cloud: LocalCloud) -> None:
    first = await cloud.provider.create(order("mx2"))
    await cloud.provider.delete("mx2")
    second = await cloud.provider.create(order("mx2"))
    assert second.ipv4_address == first.ipv4_address
    assert second.provider_id != first.provider_id
    await until(lambda: cloud.connects(second.ipv4_address))
    await cloud.provider.delete("mx2")


async def test_what_a_killed_daemon_leaves_is_started_afresh_by_the_next_one(tmp_path: Path) -> None:
    cloud = LocalCloud(tmp_path / "installation")
    try:
        await cloud.open()
        server = await cloud.provider.create(order("mx1"))
        await cloud.provider.create(order("mx2"))
        await cloud.provider.power_off("mx2")
        await cloud.settled("mx1")
        leader = load_leader(servers_dir(cloud.world.directory) / "mx1")
        cloud.inside("mx1", "touch", "/root/before")
        cloud.kill_daemon()
        with pytest.raises(ProviderBusy, match="does not answer"):
            await cloud.provider.find("mx1")
        await cloud.start_daemon()
        await until(lambda: cloud.connects(server.ipv4_address))
        assert not leader.is_alive()
        assert cloud.inside("mx1", "test", "-e", "/root/before").returncode == 0
        assert [each.power for each in await cloud.provider.list()] == [PowerState.RUNNING, PowerState.OFF]
        cloud.kill_daemon()
    finally:
        cloud.close()
    assert not any(cloud.traces().values())


async def test_two_worlds_with_the_same_addresses_do_not_meet(cloud: LocalCloud, tmp_path: Path) -> None:
    other = LocalCloud(tmp_path / "installation")
    try:
        await other.open()
        server = await other.provider.create(order("mx1"))
        assert server.ipv4_address == await address_of(cloud, "mx1")
        await until(lambda: other.connects(server.ipv4_address))
        await other.provider.power_off("mx1")
        assert not other.connects(server.ipv4_address)
        assert cloud.connects(server.ipv4_address)
        assert other.stop_daemon() == 0
    finally:
        other.close()
    assert not any(other.traces().values())
    assert cloud.routes()
    assert cloud.connects(await address_of(cloud, "mx1"))
