"""The local cloud: a daemon that owns this installation's servers and their nameserver.

    python -m control_plane.providers.local.cloud --state-dir DIR --images-dir DIR --socket PATH

Runs as root inside the world's network namespace (`World.enter`). It answers one JSON object a line on a Unix socket
of mode 0600 (`rpc.py`, `door.py`), starts at once the servers that ran before, starts again those that reboot, and
reaps what ends. SIGTERM cuts the power of all servers, unmounts and unplugs everything, and keeps the disks.

DIAGNOSTICS: what a caller does wrong is answered in a cloud's manner and disturbs no other server; a server's own words
are in `console.log` in its folder.
"""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from pydantic import validate_call

from control_plane.providers.base import ProviderError
from control_plane.providers.local.acme_authority import AcmeAuthority
from control_plane.providers.local.door import Method, open_door
from control_plane.providers.local.image import image_root
from control_plane.providers.local.inventory import Inventory
from control_plane.providers.local.nameserver import Nameserver
from control_plane.providers.local.recipes import BOOKWORM
from control_plane.providers.local.world import World

log = logging.getLogger(__name__)


def methods_of(inventory: Inventory) -> dict[str, Method]:
    """Return what may be called over the socket; arguments are checked against the annotations."""
    callables: tuple[Method, ...] = (
        *(inventory.create, inventory.find, inventory.list, inventory.delete),
        *(inventory.power_off, inventory.power_on, inventory.reboot, inventory.rebuild),
        *(inventory.cut_network, inventory.restore_network, inventory.set_reverse_dns, inventory.console),
        *(inventory.add_address, inventory.remove_address),
    )
    return {each.__name__: validate_call(each) for each in callables}


async def serve(world: World, images_dir: Path, socket_path: Path) -> None:
    """Run until SIGTERM or SIGINT; raise `ProviderError` when the image is missing or the nameserver does not start."""
    image = image_root(BOOKWORM, images_dir)
    if not image.exists():
        raise ProviderError(f"there is no image at {image}; bake it first")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    inventory = Inventory(world, image, Nameserver(world, image))
    authority = AcmeAuthority(world, image)
    try:
        await inventory.open()
        await authority.start()
        async with open_door(socket_path, methods_of(inventory)):
            log.info("answering at %s", socket_path)
            await stopping.wait()
    finally:
        await authority.stop()
        await inventory.close()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m control_plane.providers.local.cloud")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--images-dir", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(serve(World(arguments.state_dir), arguments.images_dir.resolve(), arguments.socket))


if __name__ == "__main__":
    main()
