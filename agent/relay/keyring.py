"""The signing keys of the configuration that is applied, parsed once for each version."""

import asyncio

from agent.relay.signing import SigningKeys
from agent.uplink.latest import Latest
from protos.agent.v1.configuration_pb2 import DesiredState


class KeyRing:
    """Keeps `keys` in step with what is applied while `run` runs."""

    def __init__(self, applied: Latest[DesiredState]) -> None:
        self._applied = applied
        self._keys: Latest[SigningKeys] = Latest()

    async def run(self) -> None:
        """Parse each version as it comes, beside the event loop: a server may have many domains."""
        while True:
            desired = self._applied.get()
            if desired is not None:
                self._keys.set(await asyncio.to_thread(SigningKeys.from_desired, desired))
            while self._applied.get() is desired:
                await self._applied.changed()

    async def current(self) -> SigningKeys:
        """Return the keys; waits for the first configuration."""
        return self._keys.get() or await self._keys.changed()
