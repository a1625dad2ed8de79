"""Which providers this installation has, by the key in `vps_servers.provider`."""

from collections.abc import Mapping

from control_plane.errors import InvalidInput
from control_plane.providers.base import Provider
from control_plane.providers.hetzner.client import Account
from control_plane.providers.hetzner.labels import instance_label
from control_plane.providers.hetzner.pace import SharedPace, Unpaced
from control_plane.providers.hetzner.provider import HetznerProvider
from control_plane.providers.local.provider import LocalProvider
from control_plane.settings import Settings
from db.session import Database


def build_providers(settings: Settings, database: Database | None = None) -> Mapping[str, Provider]:
    """Return the providers that the settings describe.

    `database` is the system role's, in which workers share rate limits; a process that only reads what a provider
    offers has none.
    """
    providers: list[Provider] = []
    if settings.local_cloud_socket is not None:
        providers.append(LocalProvider(settings.local_cloud_socket))
    if settings.hetzner_token.get_secret_value():
        providers.append(build_hetzner(settings, database))
    return {provider.key: provider for provider in providers}


def build_hetzner(settings: Settings, database: Database | None = None) -> HetznerProvider:
    """Return the provider `hetzner`; raise `InvalidInput` when no token is configured."""
    token = settings.hetzner_token
    if not token.get_secret_value():
        raise InvalidInput("there is no token for Hetzner: set PENGUIN_HETZNER_TOKEN to one with read and write access")
    account = Account(
        token=token,
        api_url=settings.hetzner_api_url,
        instance=instance_label(settings.platform_domain),
        image=settings.hetzner_image,
    )
    return HetznerProvider(account, SharedPace(database, token) if database is not None else Unpaced())
