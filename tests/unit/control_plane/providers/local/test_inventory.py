"""What becomes of a server that cannot be made."""

import errno
from pathlib import Path

import pytest

from control_plane.providers.base import ProviderBusy, ProviderError, ServerOrder
from control_plane.providers.local.inventory import Inventory
from control_plane.providers.local.machine import Machine
from control_plane.providers.local.nameserver import Nameserver
from control_plane.providers.local.world import World

ORDER = ServerOrder("pm-1", "mx1.local.example", "starter", "local", "", ())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space"), ProviderBusy("No space")])
async def test_half_a_server_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    destroyed: list[str] = []

    async def build(_machine: Machine, _order: ServerOrder, _image: Path) -> None:
        raise error

    async def destroy(machine: Machine) -> None:
        destroyed.append(machine.record.name)

    monkeypatch.setattr(Machine, "build", build)
    monkeypatch.setattr(Machine, "destroy", destroy)
    world = World(tmp_path)
    inventory = Inventory(world, tmp_path, Nameserver(world, tmp_path))
    with pytest.raises(ProviderError, match="No space") as raised:
        await inventory.create(ORDER)
    assert isinstance(raised.value, ProviderBusy) == isinstance(error, ProviderBusy)
    assert await inventory.find("pm-1") is None
    assert destroyed == ["pm-1"]
