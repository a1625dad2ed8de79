"""Check what is asked of a provider, and ask for the server."""

import uuid
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput
from control_plane.providers.base import Provider
from control_plane.provisioning.requests import request_server
from control_plane.rest.parts import Parts
from control_plane.tenancy.scope import TenantScope


@dataclass(frozen=True, slots=True)
class ServerOrder:
    """A server for a workspace; the provider's first region when none is named.

    `prefix` is what the request's fields are called before `provider` and `size`.
    """

    workspace_id: uuid.UUID
    provider: str
    size: str
    region: str | None = None
    prefix: str = ""


async def order_server(
    session: AsyncSession,
    scope: TenantScope,
    parts: Parts,
    order: ServerOrder,
) -> uuid.UUID:
    """Ask for a server in the caller's transaction and return its id.

    Raises `InvalidInput` for a provider that this installation has not, or a size or region that the provider has not.
    """
    offer = parts.providers.get(order.provider)
    if offer is None:
        known = ", ".join(sorted(parts.providers)) or "none"
        raise InvalidInput(
            f"This installation has no provider {order.provider!r}; it has: {known}.", f"/{order.prefix}provider"
        )
    return await request_server(
        session,
        tenant_id=scope.tenant_id,
        workspace_id=order.workspace_id,
        provider=order.provider,
        size=_size(offer, order),
        region=_region(offer, order),
        platform_domain=parts.settings.platform_domain,
        sealer=parts.sealer,
    )


def _size(offer: Provider, order: ServerOrder) -> str:
    if order.size not in offer.sizes:
        known = ", ".join(offer.sizes)
        raise InvalidInput(f"{offer.key} has no size {order.size!r}; it has: {known}.", f"/{order.prefix}size")
    return order.size


def _region(offer: Provider, order: ServerOrder) -> str:
    if order.region is None:
        return offer.regions[0]
    if order.region not in offer.regions:
        known = ", ".join(offer.regions)
        raise InvalidInput(f"{offer.key} has no region {order.region!r}; it has: {known}.", f"/{order.prefix}region")
    return order.region
