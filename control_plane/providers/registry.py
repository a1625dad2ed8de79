"""Which providers this installation has, by the key in `vps_servers.provider`."""

from collections.abc import Mapping

from control_plane.providers.base import Provider
from control_plane.providers.local.provider import LocalProvider
from control_plane.settings import Settings


def build_providers(settings: Settings) -> Mapping[str, Provider]:
    """Return the providers that the settings describe."""
    providers: list[Provider] = []
    if settings.local_cloud_socket is not None:
        providers.append(LocalProvider(settings.local_cloud_socket))
    return {provider.key: provider for provider in providers}
