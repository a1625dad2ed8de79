"""Ask for a server's power to be switched: a run in the caller's transaction; the worker asks the provider."""

import enum
import uuid
from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.pipelines.runs import open_run_kind, start_run
from control_plane.providers.base import Capability

_LOCK = text(
    "SELECT provider, status, provider_server_id FROM vps_servers WHERE tenant_id = :tenant AND id = :id FOR UPDATE"
)


class PowerAction(enum.StrEnum):
    """What may be done; each has a kind of run of its own."""

    ON = "on"
    #: Cut, at once: what the server holds in memory is lost, as it would be at the console.
    OFF = "off"
    #: The operating system is asked to start again.
    REBOOT = "reboot"
    #: The power is cut and given again.
    RESET = "reset"

    @property
    def run_kind(self) -> str:
        """The kind of run that does it."""
        return f"vps.power_{self.value}"

    @property
    def capability(self) -> Capability:
        """What a provider must have for it."""
        return Capability.RESET if self is PowerAction.RESET else Capability.POWER


#: The kinds of run that switch a server's power.
POWER_KINDS = frozenset(action.run_kind for action in PowerAction)


async def request_power(
    session: AsyncSession,
    *,
    tenant_id: uuid.UUID,
    vps_id: uuid.UUID,
    action: PowerAction,
    capabilities: Collection[Capability] | None = None,
) -> uuid.UUID:
    """Start the run and return its id.

    `capabilities` are the provider's, where the caller knows them; the run looks for itself. Raises `NotFound`, and
    `Conflict` for a server that is not there yet or not any more, has another run, or whose provider cannot do it.
    """
    key = {"tenant": tenant_id, "id": vps_id}
    server = (await session.execute(_LOCK, key)).one_or_none()
    if server is None:
        raise NotFound("There is no such server.")
    if server.status != "ready":
        raise Conflict(f"The power of a server that is {server.status} cannot be switched.")
    if capabilities is not None and action.capability not in capabilities:
        raise Conflict(f"The provider {server.provider} has no {action}.")
    if kind := await open_run_kind(session, tenant_id, vps_id):
        raise Conflict(f"The server has a run that is not over: {kind}.")
    return await start_run(session, tenant_id, action.run_kind, vps_id)
