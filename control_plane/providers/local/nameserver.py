"""The outside world's DNS: PowerDNS from the shared image, authoritative for whatever is published to it.

It answers at 10.77.0.53:53 and takes changes by its HTTP API on :8081, from the control plane's address and with the
installation's random key only. An empty root zone makes it say NXDOMAIN for names that nobody published, where it would
else refuse, and refusals break programs that ask for more than they need. Nothing is cached, so that a change shows at
once. Zones are kept in SQLite below the state directory.

SECURITY: runs in a container on the read-only image, as its root with nspawn's bounded capabilities.
"""

import asyncio
import logging
import secrets
import sqlite3
import time
from pathlib import Path

from control_plane.providers.base import ProviderBusy, ProviderError
from control_plane.providers.local import cgroups, network
from control_plane.providers.local.container import Container, escape_colons, last_lines
from control_plane.providers.local.kept_container import KeptContainer
from control_plane.providers.local.world import World
from control_plane.providers.local.zones import OWN_NAME, REVERSE_ZONE, REVERSE_ZONE_V6, TTL_SECONDS, Zones

log = logging.getLogger(__name__)

_START_SECONDS = 15.0
_POLL_SECONDS = 0.02
_RESTART_SECONDS = 1.0

_CONFIGURATION = """\
launch=gsqlite3
gsqlite3-database=/var/lib/powerdns/zones.sqlite3
gsqlite3-pragma-synchronous=1
local-address={address}
daemon=no
guardian=no
api=yes
api-key={api_key}
webserver-address={address}
webserver-port=8081
webserver-allow-from={control_plane}
default-soa-content={own_name} hostmaster.@ 0 10800 3600 604800 {ttl}
# it would ask the vendor's nameservers, which no packet can reach
security-poll-suffix=
# a change and a new zone are seen by the next question
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
"""


def nameserver_api_key(state_dir: Path) -> str:
    """Return the key of the HTTP API; make it, mode 0600, when the installation has none yet."""
    path = _directory(World(state_dir)) / "api.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


class Nameserver:
    """The nameserver of one world, owned by the daemon."""

    def __init__(self, world: World, image: Path) -> None:
        self._world = world
        self._image = image
        self._folder = _directory(world)
        self._namespace = world.server_namespace("dns")
        self._container = KeptContainer(self._begin, self._shall_go_on, lambda _status: None, _RESTART_SECONDS)
        self._api_key = nameserver_api_key(world.state_dir)
        #: What it serves; usable while it runs.
        self.zones = Zones(self._api_key)

    async def start(self) -> None:
        """Start it and return when it answers with its root and reverse zones in place."""
        await asyncio.to_thread(self._prepare)
        await self._container.start()
        await self._await_zones()

    async def stop(self) -> None:
        """End it and remove its network; the zones stay."""
        await self._container.halt()
        await asyncio.to_thread(self._clear)

    def _prepare(self) -> None:
        configuration = _CONFIGURATION.format(
            address=network.NAMESERVER,
            control_plane=network.GATEWAY,
            api_key=self._api_key,
            own_name=OWN_NAME,
            ttl=TTL_SECONDS,
        )
        path = self._folder / "pdns.conf"
        path.touch(mode=0o600)
        path.write_text(configuration)
        zones = self._folder / "zones.sqlite3"
        if not zones.exists():
            self._create_zone_file(zones)
        network.plug_in(self._world.name, self._namespace, network.NAMESERVER)

    def _create_zone_file(self, zones: Path) -> None:
        schema = self._image / "usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
        unfinished = zones.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        connection = sqlite3.connect(unfinished)
        connection.executescript(schema.read_text())
        connection.close()
        unfinished.rename(zones)

    async def _begin(self) -> Container:
        options = (
            *("--as-pid2", "--read-only", f"--directory={self._image}"),
            f"--bind={escape_colons(self._folder)}:/var/lib/powerdns",
            f"--network-namespace-path={network.NAMESPACES / self._namespace}",
            *("--tmpfs=/run/pdns", "/usr/sbin/pdns_server", "--config-dir=/var/lib/powerdns"),
        )
        groups = cgroups.create(self._world.name, "dns")
        return await Container.start(self._namespace, options, groups, self._console)

    def _shall_go_on(self, status: int) -> bool:
        log.info("the nameserver has ended (%d)", status)
        return True

    async def _await_zones(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                for zone in (".", REVERSE_ZONE, REVERSE_ZONE_V6):
                    await self.zones.ensure(zone)
            except ProviderBusy as error:
                if time.monotonic() > deadline:
                    raise ProviderError(f"the nameserver does not answer:\n{last_lines(self._console, 5)}") from error
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    def _clear(self) -> None:
        cgroups.remove_tree(self._world.name, "dns")
        network.unplug(self._world.name, self._namespace, network.NAMESERVER)

    @property
    def _console(self) -> Path:
        return self._folder / "console.log"


def _directory(world: World) -> Path:
    return world.directory / "nameserver"
