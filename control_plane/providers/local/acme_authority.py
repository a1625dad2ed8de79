"""The outside world's certificate authority: Debian's pebble from the shared image, an ACME test server (RFC 8555).

It answers at https://10.77.0.54:14000/dir and asks servers back at their port 80, by the names in the local DNS. It
keeps nothing: each start has another root and knows no account. Its certificates live 90 days. The root of those is at
https://10.77.0.54:15000/roots/0.

SECURITY: pebble is made for tests and says so; nothing outside of the local world can reach it or trusts it.
"""

import asyncio
import http.client
import json
import logging
import ssl
import time
from pathlib import Path

from control_plane.clock import utc_now
from control_plane.providers.base import ProviderError
from control_plane.providers.local import cgroups, network
from control_plane.providers.local.container import Container, escape_colons, last_lines
from control_plane.providers.local.endpoint_certificate import make_endpoint_certificate
from control_plane.providers.local.kept_container import KeptContainer
from control_plane.providers.local.world import World

log = logging.getLogger(__name__)

_PORT = 14000
_MANAGEMENT_PORT = 15000
ACME_DIRECTORY = f"https://{network.AUTHORITY}:{_PORT}/dir"
#: Where its folder is inside: an empty one of every Debian.
_INSIDE = "/mnt"
_START_SECONDS = 15.0
_POLL_SECONDS = 0.02
_RESTART_SECONDS = 1.0
_ASK_SECONDS = 10.0
_CONFIGURATION = {
    "pebble": {
        "listenAddress": f"{network.AUTHORITY}:{_PORT}",
        "managementListenAddress": f"{network.AUTHORITY}:{_MANAGEMENT_PORT}",
        "certificate": f"{_INSIDE}/endpoint.pem",
        "privateKey": f"{_INSIDE}/endpoint.key",
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "certificateValidityPeriod": 90 * 86400,
    }
}
#: It would wait up to 15 s before it looks, and refuse one request in twenty, for clients to practise.
_ENVIRONMENT = ("PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")


def acme_roots(state_dir: Path) -> Path:
    """Return the PEM file of what to trust for its HTTPS; make it, with the endpoint's key, when there is none yet."""
    folder = _directory(World(state_dir))
    roots = folder / "roots.pem"
    if not roots.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = make_endpoint_certificate(network.AUTHORITY, utc_now())
        (folder / "endpoint.key").touch(mode=0o600)
        (folder / "endpoint.key").write_bytes(made.key_pem)
        (folder / "endpoint.pem").write_bytes(made.certificate_pem)
        # written last: with it the others are there
        roots.write_bytes(made.root_pem)
    return roots


def issuing_roots(state_dir: Path) -> Path:
    """Return the PEM file of the root that its certificates come from; it is written when the authority starts."""
    return _directory(World(state_dir)) / "issuing-roots.pem"


class AcmeAuthority:
    """The authority of one world, owned by the daemon."""

    def __init__(self, world: World, image: Path) -> None:
        self._world = world
        self._image = image
        self._folder = _directory(world)
        self._namespace = world.server_namespace("acme")
        self._container = KeptContainer(self._begin, self._shall_go_on, lambda _status: None, _RESTART_SECONDS)

    async def start(self) -> None:
        """Start it and return when it takes connections."""
        await asyncio.to_thread(self._prepare)
        await self._container.start()
        await self._await_connection()
        await asyncio.to_thread(self._keep_issuing_root)

    async def stop(self) -> None:
        """End it and remove its network."""
        await self._container.halt()
        await asyncio.to_thread(self._clear)

    def _prepare(self) -> None:
        acme_roots(self._world.state_dir)
        (self._folder / "pebble.json").write_text(json.dumps(_CONFIGURATION))
        network.plug_in(self._world.name, self._namespace, network.AUTHORITY)

    async def _begin(self) -> Container:
        options = (
            *("--as-pid2", "--read-only", f"--directory={self._image}"),
            f"--bind-ro={escape_colons(self._folder)}:{_INSIDE}",
            f"--network-namespace-path={network.NAMESPACES / self._namespace}",
            *(f"--setenv={variable}" for variable in _ENVIRONMENT),
            *("/usr/bin/pebble", "-config", f"{_INSIDE}/pebble.json", "-dnsserver", f"{network.NAMESERVER}:53"),
        )
        groups = cgroups.create(self._world.name, "acme")
        return await Container.start(self._namespace, options, groups, self._console)

    def _shall_go_on(self, status: int) -> bool:
        log.info("the certificate authority has ended (%d)", status)
        return True

    async def _await_connection(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                _, writer = await asyncio.open_connection(str(network.AUTHORITY), _PORT)
            except OSError as error:
                if time.monotonic() > deadline:
                    words = last_lines(self._console, 5)
                    raise ProviderError(f"the certificate authority does not answer:\n{words}") from error
                await asyncio.sleep(_POLL_SECONDS)
            else:
                writer.close()
                return

    def _keep_issuing_root(self) -> None:
        trust = ssl.create_default_context(cafile=str(acme_roots(self._world.state_dir)))
        asked = http.client.HTTPSConnection(
            str(network.AUTHORITY), _MANAGEMENT_PORT, timeout=_ASK_SECONDS, context=trust
        )
        try:
            asked.request("GET", "/roots/0")
            issuing_roots(self._world.state_dir).write_bytes(asked.getresponse().read())
        except (OSError, http.client.HTTPException) as error:
            raise ProviderError(f"the certificate authority does not say which its root is: {error}") from error
        finally:
            asked.close()

    def _clear(self) -> None:
        cgroups.remove_tree(self._world.name, "acme")
        network.unplug(self._world.name, self._namespace, network.AUTHORITY)

    @property
    def _console(self) -> Path:
        return self._folder / "console.log"


def _directory(world: World) -> Path:
    return world.directory / "acme"
