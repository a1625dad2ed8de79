"""Which providers this installation has, by the key in `vps_servers.provider`."""

from collections.abc import Mapping

from control_plane.errors import InvalidInput
from control_plane.providers.base import Capability, Provider, StatesPrices
from control_plane.providers.byo.provider import ByoProvider
from control_plane.providers.hetzner.client import Account
from control_plane.providers.hetzner.labels import instance_label
from control_plane.providers.hetzner.pace import SharedPace, Unpaced
from control_plane.providers.hetzner.provider import HetznerProvider
from control_plane.providers.local.provider import LocalProvider
from control_plane.settings import Settings
from db.session import Database


def build_providers(settings: Settings, database: Database | None = None) -> Mapping[str, Provider]:
    """Return the providers that the settings describe.

    `database` is the system role's, in which workers share rate limits. A process that only says what is offered has
    none, and need not have the tokens either.
    """
    providers: list[Provider] = []
    if settings.local_cloud_socket is not None:
        providers.append(LocalProvider(settings.local_cloud_socket))
    if settings.hetzner_token.get_secret_value() or settings.hetzner_offered:
        providers.append(_hetzner(settings, database))
    providers.append(ByoProvider(database, settings.nameservers))
    return {provider.key: provider for provider in providers}


def pricing_provider(settings: Settings, key: str) -> StatesPrices:
    """Return a provider that states prices; raise `InvalidInput`, naming those there are, for any other."""
    providers = build_providers(settings)
    stating = {key: found for key, found in providers.items() if Capability.PRICES in found.capabilities}
    if not isinstance(found := stating.get(key), StatesPrices):
        hint = "" if stating else "; for Hetzner, set PENGUIN_HETZNER_TOKEN to an API token of the project"
        raise InvalidInput(f"no provider {key!r} here states prices; there is: {', '.join(stating) or 'none'}{hint}")
    return found


def _hetzner(settings: Settings, database: Database | None) -> HetznerProvider:
    account = Account(
        token=settings.hetzner_token,
        api_url=settings.hetzner_api_url,
        instance=instance_label(settings.platform_domain),
        image=settings.hetzner_image,
    )
    return HetznerProvider(account, SharedPace(database, settings.hetzner_token) if database is not None else Unpaced())
